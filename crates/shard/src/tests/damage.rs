//! Tests of damaged files: the log or a peer replaces them, and nothing else does.

use super::cluster::{Cluster, check_changes, eventually};
use super::commands::{receive, reserve};
use crate::{ShardHandle, StartError};

/// Starts a cluster with some history, whose replicas have built snapshots. Node 1 is stopped.
async fn with_snapshots(kept_entries: u64) -> Cluster {
    let mut cluster = Cluster::start_with(|options| {
        options.snapshot_every_entries = 20;
        options.keep_entries_for_laggards = kept_entries;
    })
    .await;
    cluster.must(receive("tea", 1_000)).await;
    for _ in 0..70 {
        cluster.must(reserve("tea", 1, 600_000)).await;
    }
    let node = cluster.node(1);
    eventually("node 1 has built snapshots", || {
        node.metrics().snapshots_built > 1
    })
    .await;
    cluster.agree().await;
    drop(node);
    cluster.stop_node(1).await;
    cluster
}

/// Flips a bit in the middle of a node's last file with this ending.
fn flip(cluster: &Cluster, node: u64, ending: &str) {
    let disk = cluster.fault_disk(node);
    let path = disk.paths().into_iter().rfind(|path| path.ends_with(ending));
    let path = path.unwrap();
    let middle = disk.content(&path).unwrap().len() / 2;
    assert!(disk.flip_bit(&path, middle as u64, 4));
}

fn all_changes(node: &ShardHandle) -> Vec<holdfast_ledger::Change> {
    node.changes().unwrap().read(1, 64 << 20).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_is_replaced_from_the_log() {
    let mut cluster = with_snapshots(5_000).await;
    flip(&cluster, 1, ".snap");
    cluster.start_node(1).await;
    cluster.agree().await;
    assert_eq!(cluster.cell(1, "tea").await.held, 70);
    // The damaged file is gone, so the next start does not find it either.
    cluster.stop_node(1).await;
    cluster.start_node(1).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_snapshot_that_the_log_cannot_replace_is_told_as_damage() {
    let mut cluster = with_snapshots(1).await;
    flip(&cluster, 1, ".snap");
    match cluster.try_start_node(1).await {
        Err(StartError::Damaged { what, .. }) => assert!(what.contains(".snap"), "{what}"),
        other => panic!("{:?}", other.map(|node| node.status())),
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_that_are_gone_and_that_the_log_cannot_replace_are_told_as_damage() {
    let mut cluster = with_snapshots(1).await;
    let disk = cluster.fault_disk(1);
    for path in disk.paths().into_iter().filter(|path| path.ends_with(".snap")) {
        holdfast_storage::Disk::remove(&disk, &path).unwrap();
    }
    match cluster.try_start_node(1).await {
        Err(StartError::Damaged { what, .. }) => assert!(what.contains("is missing"), "{what}"),
        other => panic!("{:?}", other.map(|node| node.status())),
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_change_log_is_filled_from_a_peer() {
    let mut cluster = with_snapshots(1).await;
    flip(&cluster, 1, ".changes");
    let back = cluster.start_node(1).await;
    let whole = all_changes(&cluster.node(2));
    eventually("the history is whole", || {
        let read = back.changes().map(|changes| changes.read(1, 64 << 20));
        matches!(read, Some(Ok(changes)) if changes.len() >= whole.len())
    })
    .await;
    assert_eq!(all_changes(&back)[..whole.len()], whole[..]);
    cluster.must(reserve("tea", 1, 600_000)).await;
    cluster.agree().await;
    check_changes(&back);
    cluster.stop().await;
}
