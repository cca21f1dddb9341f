//! Tests of replicas that come back: from disk, from a snapshot, from peers.

use holdfast_ledger::{Query, QueryReply};

use super::cluster::{Cluster, check_changes, eventually};
use super::commands::{receive, reserve, success, was_replayed};
use super::load::Load;
use crate::{ChangeReadError, ShardHandle};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_three_were_stopped_everything_is_there() {
    let mut cluster = Cluster::start_in_folders().await;
    cluster.must(receive("tea", 50)).await;
    let order = reserve("tea", 20, 600_000);
    cluster.must(order.clone()).await;
    for node in 1..=3 {
        cluster.stop_node(node).await;
    }
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    let again = cluster.submit(2, order).await;
    assert!(success(&again).is_some_and(was_replayed), "{again:?}");
    let cell = cluster.cell(3, "tea").await;
    assert_eq!((cell.free, cell.held), (30, 20));
    cluster.agree().await;
    assert_eq!(cluster.node(1).status().first_seq, 1);
    assert_eq!(cluster.node(1).status().last_seq, 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_lost_power_leads_again_only_when_elected_again() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).status().term;
    // The restart is so fast that no other replica has missed the leader.
    cluster.crash_node(leader).await;
    let node = cluster.start_node(leader).await;
    eventually("somebody leads", || node.leader().is_some()).await;
    assert!(
        node.status().term > term,
        "it went on in office, perhaps without entries that others have"
    );
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_all_three_lost_power_at_once_everything_acknowledged_is_there() {
    let mut cluster = Cluster::start_with(|options| {
        options.snapshot_every_entries = 40;
        options.keep_entries_for_laggards = 10;
    })
    .await;
    let load = Load::start(&cluster).await;
    for _ in 0..3 {
        for node in 1..=3 {
            cluster.crash_node(node).await;
        }
        for node in 1..=3 {
            cluster.start_node(node).await;
        }
        load.goes_on().await;
    }
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_behind_what_was_purged_is_caught_up_by_a_snapshot() {
    let mut cluster = Cluster::start_with(|options| {
        options.snapshot_every_entries = 20;
        options.keep_entries_for_laggards = 5;
        options.snapshot_chunk_bytes = 100;
    })
    .await;
    cluster.must(receive("tea", 1_000)).await;
    cluster.agree().await;
    let behind = cluster.follower().await;
    let reached = cluster.node(behind).status().applied_index;
    cluster.stop_node(behind).await;
    let leader = cluster.leader().await;
    for _ in 0..80 {
        assert!(success(&cluster.submit(leader, reserve("tea", 1, 600_000)).await).is_some());
    }
    let node = cluster.node(leader);
    eventually("the leader's log is purged", || {
        node.status().purged_index > reached + 1
    })
    .await;

    let back = cluster.start_node(behind).await;
    eventually("the snapshot is installed", || {
        back.metrics().snapshots_installed > 0
    })
    .await;
    assert!(success(&cluster.submit(behind, reserve("tea", 1, 600_000)).await).is_some());
    cluster.agree().await;
    assert_eq!(cluster.cell(behind, "tea").await.held, 81);

    // The changes that the replica did not see itself came before the snapshot.
    let all = |node: &ShardHandle| node.changes().unwrap().read(1, 64 << 20).unwrap();
    assert_eq!(all(&back), all(&node));
    check_changes(&back);

    // The replica also comes back from its own disk with the installed snapshot.
    cluster.crash_node(behind).await;
    let back = cluster.start_node(behind).await;
    cluster.agree().await;
    check_changes(&back);
    assert_eq!(cluster.cell(behind, "tea").await.held, 81);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn followers_of_the_change_stream_are_woken_on_every_replica() {
    let cluster = Cluster::start().await;
    let readers: Vec<_> = (1..=3)
        .map(|node| cluster.node(node).changes().unwrap())
        .collect();
    let waiting: Vec<_> = readers.iter().map(|reader| reader.wait_past(0)).collect();
    cluster.must(receive("tea", 1)).await;
    for reached in futures::future::join_all(waiting).await {
        assert_eq!(reached, Ok(1));
    }
    let last_of_all = readers[0].clone();
    let digest = cluster.read(1, Query::Digest).await;
    assert!(matches!(digest.reply, QueryReply::Digest(_)));
    assert_eq!(digest.last_seq, 1);
    cluster.stop().await;
    assert_eq!(last_of_all.wait_past(1).await, Err(ChangeReadError::Stopped));
}
