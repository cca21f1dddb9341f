//! Tests of replicas that come and go.

use std::collections::BTreeSet;

use super::cluster::{Cluster, LATER, check_changes, deadline, eventually};
use super::commands::{receive, reserve, success};
use super::load::Load;
use crate::{MembershipError, PeerMessageError, ReplicaId, Role, ShardHandle, Step, Target};

fn later(node: u64) -> ReplicaId {
    ReplicaId {
        generation: LATER,
        ..ReplicaId::founder(node)
    }
}

fn target(voters: impl IntoIterator<Item = ReplicaId>) -> Target {
    Target {
        voters: voters.into_iter().collect(),
        learners: BTreeSet::new(),
    }
}

/// Takes steps through the leader until the shard has the replicas that it should have.
async fn move_to(cluster: &Cluster, target: &Target) {
    let moved = async {
        loop {
            let leading: Vec<ShardHandle> =
                cluster.running().into_iter().filter(ShardHandle::leads).collect();
            for leader in leading {
                if leader.step_towards(target).await == Ok(Step::Reached) {
                    return;
                }
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let moved = tokio::time::timeout(std::time::Duration::from_secs(60), moved).await;
    assert!(moved.is_ok(), "the shard does not get to {target:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_moves_to_three_other_nodes_while_orders_come_in() {
    let mut cluster = Cluster::start_with(|options| {
        options.snapshot_every_entries = 30;
        options.keep_entries_for_laggards = 5;
        options.snapshot_chunk_bytes = 1_000;
    })
    .await;
    let load = Load::start(&cluster).await;
    load.goes_on().await;
    for node in 4..=6 {
        cluster.start_newcomer(node).await;
    }
    move_to(
        &cluster,
        &target([1, 2, 4].map(|node| {
            if node > 3 {
                later(node)
            } else {
                ReplicaId::founder(node)
            }
        })),
    )
    .await;
    load.goes_on().await;
    move_to(&cluster, &target([4, 5, 6].map(later))).await;
    load.goes_on().await;
    for node in 1..=3 {
        assert!(!cluster.node(node).leads(), "node {node} has no vote any more");
        cluster.stop_node(node).await;
    }
    load.settle(&cluster).await;
    cluster.agree().await;
    for node in 4..=6 {
        let handle = cluster.node(node);
        assert_eq!(handle.status().first_seq, 1, "node {node} has the whole history");
        check_changes(&handle);
    }
    let voters: BTreeSet<u64> = cluster.node(4).status().voters.into_iter().collect();
    assert_eq!(voters, [4, 5, 6].into());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_voter_is_replaced_and_one_that_is_not_there_gets_no_vote() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 1_000)).await;
    cluster.agree().await;
    let dead = cluster.follower().await;
    cluster.crash_node(dead).await;
    let stay: Vec<ReplicaId> = (1..=3)
        .filter(|node| *node != dead)
        .map(ReplicaId::founder)
        .collect();
    let absent = target(stay.iter().copied().chain([later(5)]));
    let leader = cluster.node(cluster.leader().await);
    let waiting = Ok(Step::Waiting(vec![later(5)]));
    assert_eq!(
        leader.step_towards(&absent).await,
        Ok(Step::Taken),
        "a learner first"
    );
    assert_eq!(leader.step_towards(&absent).await, waiting);
    assert_eq!(
        leader.step_towards(&absent).await,
        waiting,
        "however often it is asked"
    );
    assert!(!leader.status().voters.contains(&5));

    cluster.start_newcomer(4).await;
    move_to(&cluster, &target(stay.into_iter().chain([later(4)]))).await;
    assert!(success(&cluster.submit(4, reserve("tea", 1, 600_000)).await).is_some());
    let node = cluster.node(4);
    eventually("it follows", || node.status().role == Role::Follower).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_leader_moves_a_shard_and_never_to_nobody() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let founders = target((1..=3).map(ReplicaId::founder));
    let follower = cluster.node(cluster.follower().await);
    assert_eq!(
        follower.step_towards(&founders).await,
        Err(MembershipError::NotLeader)
    );
    let leader = cluster.node(cluster.leader().await);
    assert_eq!(
        leader.step_towards(&Target::default()).await,
        Err(MembershipError::NoVoters)
    );
    assert_eq!(leader.step_towards(&founders).await, Ok(Step::Reached));
    cluster.stop().await;
}

/// A node that lost its disk and is started again has another replica. It does not accept messages for the
/// earlier one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_replica_takes_no_message_for_an_earlier_one() {
    let mut cluster = Cluster::start_with_a_lasting_leader().await;
    let leader_id = cluster.leader().await;
    let leader = cluster.node(leader_id);
    let lost = cluster.follower().await;
    cluster.crash_node(lost).await;
    cluster.options.founders.remove(&lost);
    let back = cluster.start_newcomer(lost).await;
    cluster.options.founders.insert(lost);
    assert_eq!(back.replica_id(), Some(later(lost)));
    for _ in 0..20 {
        assert!(success(&cluster.submit(leader_id, receive("tea", 1)).await).is_some());
    }
    assert_eq!(
        back.status().last_log_index,
        0,
        "nothing that was sent to the one before"
    );
    assert_eq!(back.status().term, 0, "and no vote");

    let others = (1..=3).filter(|node| *node != lost).map(ReplicaId::founder);
    move_to(&cluster, &target(others.chain([later(lost)]))).await;
    eventually("it has what the leader has", || {
        back.status().last_log_index == leader.status().last_log_index
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_replica_asks_those_that_have_one() {
    let cluster = Cluster::start().await;
    let outside = cluster.outside(9);
    outside.set_holders((1..=3).map(ReplicaId::founder).collect());
    for _ in 0..10 {
        let answers = outside.submit(vec![receive("tea", 10)], deadline()).await;
        assert!(matches!(&answers[..], [Ok(Ok(_))]), "{answers:?}");
    }
    assert_eq!(outside.status().role, Role::Absent);
    assert!(outside.changes().is_none());
    let reader = outside.changes_from_anywhere().await.unwrap();
    let reached = reader.wait_past(9).await.unwrap();
    let read = tokio::task::spawn_blocking(move || reader.read(1, 1 << 20))
        .await
        .unwrap()
        .unwrap();
    assert_eq!((reached, read.len()), (10, 10));
    let message = outside.handle_raft(bytes::Bytes::from_static(b"anything")).await;
    assert_eq!(message, Err(PeerMessageError::NotHere));
    cluster.stop().await;
}
