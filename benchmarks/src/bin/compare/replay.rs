//! Replay of the log: how fast a node that was killed applies its log again. It is a real process with its
//! own log and no snapshot.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use holdfast_api::v1::ReplicaStatus;
use holdfast_benchmarks::node::NodePlace;
use holdfast_client::{Client, ClientOptions};
use uuid::Uuid;

use crate::buyers::Target;
use crate::holdfast::{Batched, name, receipt, stock};
use crate::workload::{Chooser, Workload};

/// Shards of the node: two for each core of a small machine.
const SHARDS: u32 = 4;
/// SKUs that are reserved from.
const SKUS: usize = 10_000;
/// Callers that keep the batch stream full.
const CALLERS: usize = 8192;
/// Time between two questions to a starting node about how far it is.
const ASK_EVERY: Duration = Duration::from_millis(2);
/// Longest time that a node may take to start.
const PATIENCE: Duration = Duration::from_secs(120);

/// The measurements of a restart.
pub(crate) struct Replay {
    /// Commands in the log.
    pub(crate) commands: usize,
    /// Time from the start of the process until all commands were applied and the node was ready.
    pub(crate) took: Duration,
    /// The same time with almost nothing in the log.
    pub(crate) took_empty: Duration,
}

/// Fills a node's log with this many reservations, kills the node, and starts it again.
pub(crate) async fn measure(
    binary: &Path,
    folder: &Path,
    first_port: u16,
    reservations: usize,
) -> Result<Replay> {
    let folder = folder.join("replay");
    std::fs::create_dir(&folder)?;
    let place = NodePlace::alone_without_snapshots(&folder, first_port, SHARDS)?;
    let mut node = place.start(binary)?;
    node.ready(PATIENCE).await?;
    node.kill().await?;

    let (mut node, took_empty) = restart(binary, &place, &[]).await?;
    let client = Client::new(ClientOptions::new([place.endpoint()]))?;
    stock(&client, (0..SKUS).map(|sku| receipt(name(sku), "W1"))).await?;
    reserve(&Batched::new(&client).await?, reservations).await?;
    node.ready(PATIENCE).await?;
    let before = replicas(&place).await?;
    ensure!(
        before.iter().all(|replica| replica.snapshot_index == 0),
        "a snapshot was written: not everything would be replayed"
    );
    node.kill().await?;

    let (node, took) = restart(binary, &place, &before).await?;
    node.kill().await?;
    Ok(Replay {
        commands: SKUS + reservations,
        took,
        took_empty,
    })
}

async fn reserve(target: &Batched, reservations: usize) -> Result<()> {
    let tasks = (0..CALLERS).map(|caller| {
        let target = target.clone();
        tokio::spawn(async move {
            let mut chooser = Chooser::new(Workload::Spread, caller)?;
            for _ in (caller..reservations).step_by(CALLERS) {
                let sku = chooser.next_sku() % SKUS;
                let granted = target.reserve(caller, Uuid::now_v7(), sku).await?;
                ensure!(granted, "a reservation was refused");
            }
            Ok(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(())
}

/// Starts the node and waits until it has everything that it had before.
async fn restart(
    binary: &Path,
    place: &NodePlace,
    before: &[ReplicaStatus],
) -> Result<(holdfast_benchmarks::node::Node, Duration)> {
    let began = Instant::now();
    let mut node = place.start(binary)?;
    node.ready(PATIENCE).await?;
    while !has_all(&replicas(place).await?, before) {
        ensure!(
            began.elapsed() < PATIENCE,
            "the log is not applied after {PATIENCE:?}"
        );
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok((node, began.elapsed()))
}

/// Returns whether every replica has applied as much as before: its changes end at the same place, or later.
fn has_all(now: &[ReplicaStatus], before: &[ReplicaStatus]) -> bool {
    before.iter().all(|before| {
        let same = |now: &&ReplicaStatus| now.shard == before.shard;
        now.iter().find(same).is_some_and(|now| {
            now.applied_index >= before.applied_index && now.change_seq >= before.change_seq
        })
    })
}

/// Returns the state of the node's replicas.
async fn replicas(place: &NodePlace) -> Result<Vec<ReplicaStatus>> {
    // This needs a new client, because an older one may be connected to the process that was killed.
    let client = Client::new(ClientOptions::new([place.endpoint()]))?;
    Ok(client.get_node_status(&place.endpoint()).await?.replicas)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replica(shard: u32, applied_index: u64, change_seq: u64) -> ReplicaStatus {
        ReplicaStatus {
            shard,
            applied_index,
            change_seq,
            ..ReplicaStatus::default()
        }
    }

    #[test]
    fn a_node_has_all_when_every_shard_has() {
        let before = [replica(0, 10, 100), replica(1, 20, 200)];
        assert!(has_all(&[replica(0, 11, 100), replica(1, 20, 200)], &before));
        assert!(!has_all(&[replica(0, 11, 100), replica(1, 19, 199)], &before));
        assert!(!has_all(&[replica(0, 11, 100)], &before), "a shard is missing");
    }
}
