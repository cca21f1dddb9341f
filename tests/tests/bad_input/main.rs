//! Bad input: malformed, oversized, empty, negative, overflowing, unknown, over-long and non-UTF-8. It gets a
//! clear error with the right code, has no effect, causes no panic, and does not flood the log.

mod command_line;
mod reads;
mod reservations;
mod stock;

use anyhow::{Context as _, Result, ensure};
use holdfast_api::v1;
use holdfast_tests::{Cluster, Shards, requests};
use tonic::{Code, Status};

/// The name of the input, the answer, and the code that it should have.
type Case = (&'static str, Result<(), Status>, Code);

#[tokio::test(flavor = "multi_thread")]
async fn bad_requests_get_the_right_code_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    client.receive(requests::receive("SKU-1", 10)).await?;
    let granted = client.reserve(requests::reserve("SKU-1", 2)).await?;
    ensure!(granted.lines[0].granted == 2);
    let before = client.get_positions(v1::GetPositionsRequest {}).await?.shards;

    let mut cases = reservations::cases(&cluster).await?;
    cases.extend(stock::cases(&cluster).await?);
    cases.extend(reads::cases(&cluster).await?);
    for (what, answer, code) in cases {
        let status = answer.err().with_context(|| format!("{what} was accepted"))?;
        ensure!(status.code() == code, "{what}: {status:?}");
        ensure!(!status.message().is_empty(), "{what}: no message");
        ensure!(
            requests::refusal(&status).is_some() || code == Code::OutOfRange,
            "{what}: no refusal in {status:?}"
        );
    }

    let after = client.get_positions(v1::GetPositionsRequest {}).await?.shards;
    let sequences =
        |shards: &[v1::ShardPosition]| shards.iter().map(|shard| shard.last_seq).collect::<Vec<_>>();
    ensure!(sequences(&before) == sequences(&after), "something changed");
    for node in 0..cluster.len() {
        let log = cluster.log(node);
        ensure!(!log.contains("panicked"), "a panic on node {node}:\n{log}");
        ensure!(
            log.lines().count() < 200,
            "{} lines logged by node {node}",
            log.lines().count()
        );
    }
    cluster.verify()?;
    Ok(())
}
