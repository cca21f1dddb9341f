//! Tests of which replica stands for election, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::cluster::{Cluster, eventually};
use super::commands::{receive, reserve};
use crate::{Role, ShardHandle};

/// Silence after which a leader is missed, in milliseconds. It is longer than an election takes on the
/// busiest machine, and not much longer, since Raft ends only after a tick.
const LONG_MS: u64 = 20_000;

async fn start_with_long_patience() -> Cluster {
    let cluster = Cluster::start_with(|options| {
        options.election_timeout_min_ms = LONG_MS;
        options.election_timeout_max_ms = LONG_MS + 80;
    })
    .await;
    // The first election does not come by itself either.
    cluster.elect(1).await;
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    cluster
}

fn term(node: &ShardHandle) -> u64 {
    node.status().term
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_process_is_gone_is_replaced_without_waiting_for_a_timeout() {
    let mut cluster = start_with_long_patience().await;
    let leader = cluster.leader().await;
    let terms = term(&cluster.node(leader));
    cluster.crash_node(leader).await;
    let crashed = Instant::now();
    cluster.net.refuse_all(leader);
    let heir = cluster.leader().await;
    assert_ne!(heir, leader);
    assert!(
        crashed.elapsed() < Duration::from_millis(LONG_MS / 2),
        "not by the timeout"
    );
    assert_eq!(term(&cluster.node(heir)), terms + 1, "one election was enough");
    cluster.must(reserve("tea", 1, 600_000)).await;
    cluster.start_node(leader).await;
    cluster.net.accept(leader);
    cluster.agree().await;
    assert_eq!(cluster.leader().await, heir, "who comes back follows");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_refuses_one_replica_alone_keeps_leading() {
    let cluster = start_with_long_patience().await;
    let leader = cluster.leader().await;
    let terms = term(&cluster.node(leader));
    let follower = cluster.follower().await;
    let asked = || cluster.node(follower).metrics().pre_votes_asked;
    let before = asked();
    // The messages that it gets meanwhile show that the leader is there, so this link is cut too.
    cluster.net.cut(leader, follower);
    cluster.net.refuse(follower, leader);
    eventually("the one that is refused asks to be elected", || asked() > before).await;
    for _ in 0..20 {
        let result = cluster.submit(leader, receive("tea", 1)).await;
        assert!(matches!(result, Ok(Ok(_))), "{result:?}");
    }
    cluster.net.heal();
    cluster.net.accept(leader);
    cluster.agree().await;
    assert_eq!(cluster.node(leader).status().role, Role::Leader);
    let after: Vec<u64> = cluster.running().iter().map(term).collect();
    assert_eq!(after, vec![terms; 3]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_cut_off_begins_no_term_and_disturbs_nobody_when_it_is_back() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 50)).await;
    let leader = cluster.leader().await;
    let lonely = cluster.follower().await;
    let terms = term(&cluster.node(leader));
    cluster.net.isolate(lonely);
    let before = cluster.node(lonely).metrics().pre_votes_asked;
    // Waits until openraft's own timers have run out as well.
    eventually("the one that is cut off asks again and again", || {
        cluster.node(lonely).metrics().pre_votes_asked > before + 60
    })
    .await;
    for _ in 0..20 {
        let result = cluster.submit(leader, reserve("tea", 1, 600_000)).await;
        assert!(matches!(result, Ok(Ok(_))), "{result:?}");
    }
    assert_eq!(cluster.node(lonely).status().role, Role::Follower);
    cluster.net.heal();
    cluster.agree().await;
    let after: Vec<u64> = cluster.running().iter().map(term).collect();
    assert_eq!(after, vec![terms; 3]);
    assert_eq!(cluster.leader().await, leader);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn beside_a_voter_that_does_not_know_pre_votes_a_leader_is_replaced_all_the_same() {
    for is_told in [true, false] {
        let mut cluster = Cluster::start().await;
        for node in 1..=3 {
            cluster.net.is_old(node);
        }
        cluster.must(receive("tea", 5)).await;
        let leader = cluster.leader().await;
        cluster.crash_node(leader).await;
        if is_told {
            cluster.net.refuse_all(leader);
        }
        let heir = cluster.leader().await;
        assert_ne!(heir, leader);
        cluster.must(reserve("tea", 1, 600_000)).await;
        cluster.stop().await;
    }
}
