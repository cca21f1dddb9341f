//! The archive over real processes: exporters that are killed and doubled, a drill under load, and damage
//! that the proof names.

use std::path::{Path, PathBuf};
use std::process::Child;

use anyhow::{Context as _, Result, ensure};
use holdfast_tests::accounts::{account_for, stock};
use holdfast_tests::load::Crowd;
use holdfast_tests::{Cluster, ClusterOptions, wait_for};
use serde_json::Value;

async fn start() -> Result<Cluster> {
    Cluster::start_with(ClusterOptions {
        shards: 2,
        nodes: 1,
        ..ClusterOptions::default()
    })
    .await
}

/// Returns all files below a folder, in order.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn follow(cluster: &Cluster, lake: &str) -> Result<Child> {
    let export = ["changes", "export", "--to", lake, "--follow"];
    let cut = ["--rows-per-file", "200", "--period", "1s", "--max-wait", "50ms"];
    cluster.start_holdfast(&[&export[..], &cut].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn exporters_killed_and_doubled_under_load_leave_a_whole_archive_from_which_the_stock_is_rebuilt()
-> Result<()> {
    let cluster = start().await?;
    let client = cluster.client()?;
    let folder = cluster.folder().join("lake");
    let lake = folder.display().to_string();
    let skus = stock(&client, 24).await?;
    let crowd = Crowd::start(&client, 8, &skus, 1)?;
    let mut exporters = [follow(&cluster, &lake)?, follow(&cluster, &lake)?];
    for round in 0..4 {
        let entries = || files(&folder.join("manifest")).len();
        let before = entries();
        wait_for("more files are archived", || async {
            (entries() > before + 1).then_some(())
        })
        .await?;
        let killed = &mut exporters[round % 2];
        killed.kill()?;
        killed.wait()?;
        exporters[round % 2] = follow(&cluster, &lake)?;
    }
    let drilled = cluster.operate(&["archive", "drill", "--archive", &lake]).await?;
    ensure!(drilled["equal"] == true, "{drilled}");
    for exporter in &mut exporters {
        ensure!(exporter.try_wait()?.is_none(), "an exporter ended by itself");
        exporter.kill()?;
        exporter.wait()?;
    }
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;

    cluster.holdfast_json(&["changes", "export", "--to", &lake])?;
    let proof = cluster.holdfast_json(&["archive", "verify", "--archive", &lake])?;
    let verified = cluster.holdfast_json(&["verify", "--archive", &lake])?;
    let drilled = cluster.holdfast_json(&["archive", "drill", "--archive", &lake])?;
    ensure!(proof["ok"] == true && verified["ok"] == true && drilled["equal"] == true);
    let archived = |shard: &Value| shard["archived_through"] == shard["at_seq"] && shard["cells"] != 0;
    let shards = drilled["shards"].as_array().context("no shards")?;
    ensure!(shards.len() == 2 && shards.iter().all(archived), "{drilled}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_to_a_file_is_named_and_an_earlier_proof_shows_what_the_files_cannot() -> Result<()>
{
    let cluster = start().await?;
    let client = cluster.client()?;
    stock(&client, 40).await?;
    let folder = cluster.folder().join("lake");
    let lake = folder.display().to_string();
    cluster.holdfast_json(&["changes", "export", "--to", &lake, "--rows-per-file", "3"])?;
    let proof = cluster.holdfast_json(&["archive", "verify", "--archive", &lake])?;
    ensure!(proof["ok"] == true, "{proof}");
    let earlier = cluster.folder().join("earlier.json");
    std::fs::write(&earlier, proof.to_string())?;
    let earlier = earlier.display().to_string();

    let verify = ["archive", "verify", "--archive", &lake];
    let assert_named = |file: &Path| -> Result<()> {
        let done = cluster.holdfast(&verify)?;
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let name = file
            .file_name()
            .and_then(|name| name.to_str())
            .context("a file without a name")?;
        ensure!(done.status.code() == Some(1), "{name}: {said}");
        ensure!(said.contains(name), "{name} is not named: {said}");
        Ok(())
    };
    let mut shard_files = files(&folder.join("changes/shard=0000"));
    shard_files.extend(files(&folder.join("manifest/shard=0000")));
    ensure!(shard_files.len() >= 6, "{shard_files:?}");
    let last_entry = shard_files.pop().context("no entries")?;
    // The first and the last file, and the first entry.
    let entries = shard_files
        .iter()
        .position(|file| file.extension() == Some("json".as_ref()));
    let entries = entries.context("no entries")?;
    for file in [&shard_files[0], &shard_files[entries - 1], &shard_files[entries]] {
        let content = std::fs::read(file)?;
        let put_back = || -> Result<()> {
            std::fs::remove_file(file).ok();
            Ok(std::fs::write(file, &content)?)
        };
        let mut flipped = content.clone();
        flipped[content.len() / 2] ^= 1;
        std::fs::remove_file(file)?;
        assert_named(file)?;
        std::fs::write(file, flipped)?;
        assert_named(file)?;
        put_back()?;
        let renamed = file.with_extension("renamed");
        std::fs::rename(file, &renamed)?;
        assert_named(file)?;
        std::fs::remove_file(renamed)?;
        put_back()?;
    }
    ensure!(cluster.holdfast_json(&verify)?["ok"] == true);

    // The last entry and its file are removed together.
    let last: Value = serde_json::from_slice(&std::fs::read(&last_entry)?)?;
    std::fs::remove_file(&last_entry)?;
    std::fs::remove_file(folder.join(last["file"].as_str().context("no file")?))?;
    ensure!(cluster.holdfast_json(&verify)?["ok"] == true);
    let done = cluster.holdfast(&[&verify[..], &["--earlier", &earlier]].concat())?;
    let said = String::from_utf8_lossy(&done.stdout);
    ensure!(
        done.status.code() == Some(1) && said.contains("the manifest ends before it"),
        "{said}"
    );
    Ok(())
}
