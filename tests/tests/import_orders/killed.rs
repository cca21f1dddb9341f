//! An import while leaders are killed.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use holdfast_api::v1;
use holdfast_tests::{Cluster, wait_for};
use nix::sys::signal::Signal;

use crate::checks::MAPPING;

/// Imports a file while the leaders of shards are killed in turn, each when the import has made progress.
/// Returns how many were killed.
pub(crate) async fn import_under_kills(
    cluster: &mut Cluster,
    shards: u32,
    file: &Path,
    arguments: &[&str],
) -> Result<u32> {
    let name = file
        .file_stem()
        .context("no name")?
        .to_string_lossy()
        .into_owned();
    let state = cluster.folder().join(format!("{name}.state.json"));
    let begin = [
        "import",
        "orders",
        &file.to_string_lossy(),
        "--state",
        &state.to_string_lossy(),
        "--mapping",
        MAPPING,
        // On a busy machine an election takes longer than a buyer would wait.
        "--deadline-ms",
        "60000",
        "--json",
    ];
    let client = cluster.client()?;
    let mut process = cluster.start_holdfast(&[&begin[..], arguments].concat())?;
    let mut reached = 0;
    for kills in 0.. {
        let further = wait_for("the import to come further", || {
            let ended = process.try_wait().ok().flatten();
            let client = client.clone();
            async move {
                if let Some(status) = ended {
                    return Some(Err(status));
                }
                let positions = client.get_positions(v1::GetPositionsRequest {}).await.ok()?;
                let now: u64 = positions.shards.iter().map(|at| at.last_seq).sum();
                (now >= reached + 1_500).then_some(Ok(now))
            }
        });
        match further.await? {
            Ok(now) => reached = now,
            Err(status) => {
                ensure!(status.success(), "the import ended with {status}");
                return Ok(kills);
            }
        }
        let leader = cluster.leader(kills % shards).await?;
        cluster.end(leader, Signal::SIGKILL)?;
        cluster.spawn(leader)?;
        cluster.ready().await?;
    }
    Ok(0)
}
