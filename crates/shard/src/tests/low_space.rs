//! Tests of a shard while the disks of its nodes are nearly full.

use holdfast_ledger::{Action, Command, Refusal};

use super::cluster::{Cluster, deadline};
use super::commands::{SubmitResult, command, new_id, receive, reserve, success, was_replayed};
use crate::SubmitError;

fn commit(reserve: &Command) -> Command {
    let reservation_id = reserve.operation_id;
    command(new_id(), Action::Commit { reservation_id })
}

fn is_low_space(result: &SubmitResult) -> bool {
    matches!(result, Err(SubmitError::LowSpace))
}

/// Reserves one unit at a time until this is refused for lack of space. Returns how many units were taken.
async fn until_refused(cluster: &Cluster, node: u64) -> i64 {
    let give_up = deadline();
    let mut taken = 0;
    loop {
        let result = cluster.submit(node, reserve("tea", 1, 600_000)).await;
        if is_low_space(&result) {
            return taken;
        }
        taken += 1;
        assert!(success(&result).is_some(), "{result:?}");
        assert!(tokio::time::Instant::now() < give_up, "reserves are still taken");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_low_space_nothing_new_gets_into_the_log_and_what_is_held_moves_on() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 1_000_000)).await;
    let (held, expiring) = (reserve("tea", 5, 600_000), reserve("tea", 7, 200));
    cluster.must(held.clone()).await;
    cluster.must(expiring.clone()).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);

    cluster.net.are_low(1..=3);
    let taken = until_refused(&cluster, leader).await;
    let proposed = cluster.node(leader).metrics().commands_proposed;
    for node in [leader, follower] {
        for new in [reserve("tea", 1, 600_000), receive("tea", 1)] {
            let result = cluster.submit(node, new).await;
            assert!(is_low_space(&result), "{result:?}");
        }
    }
    assert_eq!(cluster.node(leader).metrics().commands_proposed, proposed);

    // A copy gets the first outcome. A refusal that has nothing to do with space comes from the ledger.
    let copy = cluster.submit(follower, held.clone()).await;
    assert!(was_replayed(success(&copy).unwrap()), "{copy:?}");
    let too_much = cluster.submit(leader, reserve("tea", 2_000_000, 600_000)).await;
    assert!(
        matches!(too_much, Ok(Err(Refusal::InsufficientStock(_)))),
        "{too_much:?}"
    );

    // In a batch, a command that moves on a refused reserve is refused with it.
    let new = reserve("tea", 1, 600_000);
    let batch = vec![new.clone(), commit(&new), commit(&held)];
    let results = cluster.node(leader).submit(batch, deadline()).await;
    assert!(
        is_low_space(&results[0]) && is_low_space(&results[1]),
        "{results:?}"
    );
    assert!(success(&results[2]).is_some(), "{results:?}");
    let give_up = deadline();
    while cluster.cell(leader, "tea").await.held != taken {
        assert!(tokio::time::Instant::now() < give_up, "the hold does not expire");
    }

    cluster.net.are_low([]);
    let give_up = deadline();
    while success(&cluster.submit(leader, reserve("tea", 1, 600_000)).await).is_none() {
        assert!(tokio::time::Instant::now() < give_up, "no reserve is taken");
    }
    assert_eq!(cluster.cell(leader, "tea").await.committed, 5);
    cluster.agree().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quorum_with_enough_space_goes_on_and_one_without_does_not() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    cluster.must(receive("tea", 1_000_000)).await;
    let leader = cluster.leader().await;
    let followers: Vec<u64> = (1..=3).filter(|node| *node != leader).collect();
    cluster.net.are_low([followers[0]]);
    // A test can show only that this is not refused yet; `proposer::low_space::tests` checks the rule itself.
    cluster.must(reserve("tea", 1, 600_000)).await;
    cluster.net.are_low(followers);
    until_refused(&cluster, leader).await;
    cluster.net.are_low([leader]);
    until_refused(&cluster, leader).await;
}
