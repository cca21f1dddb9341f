//! Tests of shards that stand still to be copied, and of shards that begin with such a copy.

use std::time::Duration;

use holdfast_ledger::{Ledger, Query, QueryReply};

use super::cluster::{Cluster, deadline, eventually};
use super::commands::{cells, receive, reserve};
use crate::{CutError, Freshness, Seed, SeedError};

/// Longer than any test.
const LONG: Duration = Duration::from_secs(600);

async fn ask(cluster: &Cluster, node: u64) {
    let node = cluster.node(node);
    node.query(cells("tea"), Freshness::Linearizable, deadline())
        .await
        .unwrap();
}

fn digest_of(reply: QueryReply) -> [u8; 32] {
    match reply {
        QueryReply::Digest(digest) => digest,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_shard_takes_nothing_into_its_log_until_it_is_copied() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    cluster.must(receive("tea", 7)).await;
    let before = cluster.node(leader).status();
    let hold = cluster.node(leader).freeze(LONG).await.unwrap();
    let node = cluster.node(leader);
    let mut late = Box::pin(node.submit(vec![receive("tea", 5)], deadline()));
    assert!(futures::poll!(&mut late).is_pending());
    // In each of these rounds to a quorum the late command would have been committed.
    for _ in 0..5 {
        ask(&cluster, leader).await;
    }
    assert!(futures::poll!(&mut late).is_pending());
    let cut = hold.cut().await.unwrap();
    assert_eq!(cut.log_index, before.applied_index);
    assert_eq!(cut.ledger.last_seq(), before.last_seq);
    assert!(late.await[0].as_ref().unwrap().is_ok());
    assert!(cluster.node(leader).status().last_seq > cut.ledger.last_seq());
    let (bytes, digest) = cut.encode().await.unwrap();
    let copy = Ledger::decode(&bytes).unwrap();
    assert_eq!((copy.digest(), copy.last_seq()), (digest, before.last_seq));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_after_the_lease_is_noticed() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    cluster.must(receive("tea", 7)).await;
    // The lease may be over before the shard stands still. Then it is not held at all.
    let hold = loop {
        match cluster.node(leader).freeze(Duration::from_millis(50)).await {
            Ok(hold) => break hold,
            Err(error) => assert_eq!(error, CutError::NotInTime),
        }
    };
    cluster.must(receive("tea", 5)).await;
    let error = hold.cut().await.unwrap_err();
    assert!(matches!(error, CutError::Moved | CutError::NotInTime), "{error}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_came_and_went_meanwhile_is_noticed() {
    let cluster = Cluster::start().await;
    let leader = cluster.leader().await;
    cluster.must(receive("tea", 7)).await;
    let hold = cluster.node(leader).freeze(LONG).await.unwrap();
    let other = cluster.node(leader).transfer_leader(None).await.unwrap();
    cluster.must(receive("tea", 5)).await;
    let error = hold.cut().await.unwrap_err();
    assert!(
        matches!(error, CutError::NotLeader { .. } | CutError::Moved),
        "{error}"
    );
    // The same holds when the old leader leads again, with the hold still in its memory.
    eventually("the others know the new leader", || cluster.node(other).leads()).await;
    let hold = cluster.node(other).freeze(LONG).await;
    if let Ok(hold) = hold {
        cluster.node(other).transfer_leader(Some(leader)).await.unwrap();
        cluster.must(receive("tea", 1)).await;
        cluster.node(leader).transfer_leader(Some(other)).await.unwrap();
        eventually("it leads again", || cluster.node(other).leads()).await;
        let error = hold.cut().await.unwrap_err();
        assert!(
            matches!(error, CutError::NotLeader { .. } | CutError::Moved),
            "{error}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_leader_is_held_once_at_a_time_and_goes_on_when_the_hold_is_dropped() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let refused = cluster.node(follower).freeze(LONG).await.err();
    assert_eq!(refused, Some(CutError::NotLeader { leader: Some(leader) }));
    let hold = cluster.node(leader).freeze(LONG).await.unwrap();
    assert_eq!(
        cluster.node(leader).freeze(LONG).await.err(),
        Some(CutError::AlreadyFrozen)
    );
    drop(hold);
    cluster.must(receive("tea", 5)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_without_a_quorum_ends_with_its_lease() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    cluster.net.isolate(leader);
    let refused = cluster
        .node(leader)
        .freeze(Duration::from_millis(300))
        .await
        .err();
    assert!(
        matches!(refused, Some(CutError::NotInTime | CutError::NotLeader { .. })),
        "{refused:?}"
    );
    cluster.net.heal();
    cluster.must(receive("tea", 5)).await;
    cluster.stop().await;
}

/// Returns the bytes, digest and log index of a shard with stock, a hold and a past.
async fn copy_of_a_shard() -> (Vec<u8>, [u8; 32], u64) {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    for _ in 0..20 {
        cluster.must(receive("tea", 5)).await;
    }
    cluster.must(reserve("tea", 3, 600_000)).await;
    let leader = cluster.leader().await;
    let cut = cluster
        .node(leader)
        .freeze(LONG)
        .await
        .unwrap()
        .cut()
        .await
        .unwrap();
    let log_index = cut.log_index;
    let (bytes, digest) = cut.encode().await.unwrap();
    cluster.stop().await;
    (bytes, digest, log_index)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_begins_with_a_copy_goes_on_behind_it_and_brings_it_to_whoever_comes_with_nothing() {
    let (bytes, digest, log_index) = copy_of_a_shard().await;
    let last_seq = Ledger::decode(&bytes).unwrap().last_seq();
    let seed = Seed {
        ledger: &bytes,
        log_index,
        state_digest: digest,
    };
    let mut cluster = Cluster::prepare(|options| options.snapshot_every_entries = 100_000);
    // The third node comes later, with an empty disk.
    for node in 1..=2 {
        cluster.plant(node, seed).unwrap();
        cluster.start_node(node).await;
    }
    for node in 1..=2 {
        let answer = cluster.read(node, Query::Digest).await;
        assert_eq!(digest_of(answer.reply), digest);
        assert_eq!(answer.last_seq, last_seq);
    }
    cluster.must(receive("tea", 1)).await;
    let leader = cluster.leader().await;
    assert!(cluster.node(leader).status().applied_index > log_index);
    assert_eq!(cluster.node(leader).status().last_seq, last_seq + 1);
    assert_eq!(cluster.node(leader).changes().unwrap().first_seq(), last_seq + 1);

    let late = cluster.start_node(3).await;
    eventually("the node that came with nothing has it all", || {
        late.status().last_seq == last_seq + 1
    })
    .await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planted_shard_survives_a_crash_right_after_and_is_not_planted_twice() {
    let (bytes, digest, log_index) = copy_of_a_shard().await;
    let seed = Seed {
        ledger: &bytes,
        log_index,
        state_digest: digest,
    };
    let mut cluster = Cluster::prepare(|_| ());
    for node in 1..=3 {
        cluster.plant(node, seed).unwrap();
        cluster.lose_power(node);
        assert!(matches!(
            cluster.plant(node, seed),
            Err(SeedError::NotEmpty { .. })
        ));
    }
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    assert_eq!(digest_of(cluster.read(1, Query::Digest).await.reply), digest);
    cluster.must(receive("tea", 1)).await;
    for node in 1..=3 {
        cluster.crash_node(node).await;
    }
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    cluster.must(receive("tea", 1)).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_not_what_was_written_is_not_planted() {
    let (bytes, digest, log_index) = copy_of_a_shard().await;
    let cluster = Cluster::prepare(|_| ());
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x01;
    let seeds = [
        Seed {
            ledger: &damaged,
            log_index,
            state_digest: digest,
        },
        Seed {
            ledger: &bytes,
            log_index,
            state_digest: [7; 32],
        },
        Seed {
            ledger: &bytes,
            log_index: 3,
            state_digest: digest,
        },
        Seed {
            ledger: &bytes[..middle],
            log_index,
            state_digest: digest,
        },
    ];
    for seed in seeds {
        let error = cluster.plant(1, seed).unwrap_err();
        assert!(matches!(error, SeedError::Ledger { .. }), "{error}");
    }
    let right = Seed {
        ledger: &bytes,
        log_index,
        state_digest: digest,
    };
    cluster.plant(1, right).unwrap();
}
