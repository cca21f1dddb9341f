//! Tests of leaders, networks and disks that fail.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::join_all;
use holdfast_ledger::{
    Action, CallerReason, ChangeKind, Command, Entry, Principal, Query, QueryReply, Refusal, Rules,
};
use tokio::time::Instant;

use super::cluster::{Cluster, PATIENCE, deadline, eventually};
use super::commands::{cells, command, new_id, receive, reserve, sku, success, warehouse};
use super::load::Load;
use crate::{Freshness, QueryError, Role, SubmitError, TransferError};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_stops_writes_go_on_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    let leader = cluster.leader().await;
    cluster.stop_node(leader).await;
    load.goes_on().await;
    cluster.start_node(leader).await;
    load.goes_on().await;
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_the_leader_loses_power_writes_go_on_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    for _ in 0..3 {
        let leader = cluster.leader().await;
        cluster.crash_node(leader).await;
        load.goes_on().await;
        cluster.start_node(leader).await;
        load.goes_on().await;
    }
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_grants_nothing_and_the_majority_goes_on() {
    let cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    let old = cluster.leader().await;
    cluster.net.isolate(old);
    let order = reserve("tea", 1, 600_000);
    let soon = Instant::now() + Duration::from_millis(1_500);
    let alone = cluster.node(old).submit(vec![order.clone()], soon).await;
    assert!(
        matches!(alone[0], Err(SubmitError::OutcomeUnknown | SubmitError::Deadline)),
        "{alone:?}"
    );
    let soon = Instant::now() + Duration::from_millis(300);
    let read = cluster
        .node(old)
        .query(cells("tea"), Freshness::Linearizable, soon)
        .await;
    assert!(
        matches!(read, Err(QueryError::Deadline | QueryError::NoLeader)),
        "{read:?}"
    );
    load.goes_on().await;
    cluster.net.heal();
    load.goes_on().await;
    let found = cluster
        .read(
            old,
            Query::Reservation {
                reservation_id: order.operation_id,
            },
        )
        .await;
    assert_eq!(
        found.reply,
        QueryReply::Reservation(None),
        "what the lonely leader proposed was overwritten"
    );
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

fn adjust(name: &str, delta: i64) -> Command {
    let mut command = command(
        new_id(),
        Action::Adjust {
            sku: sku(name),
            warehouse: warehouse(),
            delta,
        },
    );
    command.reason = CallerReason::new("test").unwrap();
    command
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_on_its_way_makes_a_refusal_uncertain_until_its_id_is_sealed() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let rules = Rules::Second;
    cluster
        .must(command(new_id(), Action::AdoptRules { rules }))
        .await;
    cluster.must(receive("tea", 1)).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    for sealed in [false, true] {
        let down = adjust("tea", -5);
        cluster.net.hold_up_forwards();
        let node = cluster.node(follower);
        let sent = node.metrics().forwards_sent;
        let submitted = {
            let (node, down) = (node.clone(), down.clone());
            tokio::spawn(async move { node.submit(vec![down], deadline()).await })
        };
        eventually("a copy is on its way", || node.metrics().forwards_sent > sent).await;
        let copies = cluster.net.pass_forwards();
        let told = submitted.await.unwrap().remove(0);
        assert!(
            matches!(told, Err(SubmitError::Unsettled(Refusal::InsufficientStock(_)))),
            "{told:?}"
        );
        if sealed {
            let seal = Command::seal(down.operation_id, Principal::new("test").unwrap());
            cluster.must(seal).await;
        }
        let before = cluster.cell(leader, "tea").await.on_hand;
        cluster.must(receive("tea", 10)).await;
        for copy in copies {
            copy.arrive().await;
        }
        // Without a seal the copy takes effect. That is why the refusal alone is not an answer.
        let acted = if sealed { 0 } else { 5 };
        assert_eq!(cluster.cell(leader, "tea").await.on_hand, before + 10 - acted);
        let again = cluster.submit(follower, down).await;
        assert_eq!(again == Ok(Err(Refusal::OperationSealed)), sealed, "{again:?}");
        let rest = cluster.cell(leader, "tea").await.on_hand;
        cluster.must(adjust("tea", 1 - rest)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_cut_off_refuses_nothing_that_the_majority_allows() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    let old = cluster.leader().await;
    cluster.net.isolate(old);
    let order = reserve("tea", 1, 600_000);
    let other = (1..=3).find(|node| *node != old).unwrap();
    let granted = cluster.node(other).submit(vec![order.clone()], deadline()).await;
    assert!(success(&granted[0]).is_some(), "{granted:?}");
    let commit = command(
        new_id(),
        Action::Commit {
            reservation_id: order.operation_id,
        },
    );
    let soon = Instant::now() + Duration::from_millis(500);
    let alone = cluster.node(old).submit(vec![commit], soon).await;
    assert!(
        alone[0].is_err(),
        "it knows nothing of the reservation and does not know that: {alone:?}"
    );
    cluster.net.heal();
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_and_hears_nobody_is_replaced() {
    let cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    let deaf = cluster.leader().await;
    let hearing: Vec<_> = (1..=3).filter(|node| *node != deaf).collect();
    cluster.net.deafen(deaf);
    eventually("the others have a leader whom they hear", || {
        let leader = |node: &u64| cluster.node(*node).leader();
        let leaders: Vec<_> = hearing.iter().filter_map(leader).collect();
        leaders.len() == 2 && leaders[0] == leaders[1] && leaders[0] != deaf
    })
    .await;
    // The load cannot go on earlier: half of it asks the deaf node.
    cluster.net.heal();
    load.goes_on().await;
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_answers_for_long_the_cluster_goes_on_when_they_come_again() {
    let cluster = Cluster::start().await;
    // A replica that does not know yet that it has a vote stands for nothing.
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    let leader = cluster.leader().await;
    let others: Vec<_> = (1..=3).filter(|node| *node != leader).collect();
    let asked = |node: &u64| cluster.node(*node).metrics().pre_votes_asked;
    let before: Vec<u64> = others.iter().map(asked).collect();
    for node in 1..=3 {
        cluster.net.deafen(node);
    }
    eventually("the others miss their leader and ask in vain", || {
        others
            .iter()
            .zip(&before)
            .all(|(node, before)| asked(node) > *before)
    })
    .await;
    assert_eq!(cluster.node(leader).status().role, Role::Leader);
    cluster.net.heal();
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_whose_heartbeats_are_answered_after_the_next_one_is_due_keeps_leading() {
    // A starved machine must not bring an election here.
    let cluster = Cluster::start_with(|options| {
        options.heartbeat_ms = 200;
        options.election_timeout_min_ms = 3_000;
        options.election_timeout_max_ms = 4_000;
    })
    .await;
    cluster.must(receive("tea", 5)).await;
    let leader = cluster.leader().await;
    let term = cluster.node(leader).status().term;
    let heartbeat = Duration::from_millis(cluster.options.heartbeat_ms);
    cluster.net.answer_late(heartbeat * 3 / 2);
    // Each read needs a heartbeat that a quorum answers. All together take longer than a lease.
    for _ in 0..20 {
        assert_eq!(cluster.cell(leader, "tea").await.free, 5);
    }
    assert_eq!(cluster.node(leader).status().term, term);
    cluster.must(reserve("tea", 1, 600_000)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_expires_once_across_a_leader_change() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    let order = reserve("tea", 5, 1_500);
    cluster.must(order.clone()).await;
    let leader = cluster.leader().await;
    let reserved_at = cluster.node(leader).status().applied_index;
    cluster.crash_node(leader).await;
    let other = cluster.leader().await;
    let node = cluster.node(other);
    // A new leader may not have applied the reservation yet. Then nothing is held there either.
    let has_ended = || {
        let status = node.status();
        status.applied_index > reserved_at && status.live_reservations == 0
    };
    eventually("the hold has ended", has_ended).await;
    let commit = command(
        new_id(),
        Action::Commit {
            reservation_id: order.operation_id,
        },
    );
    let committed = cluster.submit(other, commit).await;
    assert!(
        matches!(committed, Ok(Err(Refusal::Expired { .. }))),
        "{committed:?}"
    );
    cluster.start_node(leader).await;
    cluster.agree().await;
    let cell = cluster.cell(leader, "tea").await;
    assert_eq!((cell.free, cell.held), (5, 0));
    let changes = cluster.node(leader).changes().unwrap().read(1, 1 << 20).unwrap();
    let expired = changes.iter().filter(|change| change.kind == ChangeKind::Expired);
    assert_eq!(expired.count(), 1);
    assert!(
        changes
            .windows(2)
            .all(|pair| pair[0].log_time_ms <= pair[1].log_time_ms),
        "log time went back"
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_there_is_no_leader_and_no_effect() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    for node in [1, 2] {
        cluster.crash_node(node).await;
    }
    let soon = Instant::now() + Duration::from_millis(1_200);
    let result = cluster
        .node(3)
        .submit(vec![reserve("tea", 1, 600_000)], soon)
        .await;
    assert!(result[0].is_err(), "{result:?}");
    let stale = cluster
        .node(3)
        .query(cells("tea"), Freshness::Stale, deadline())
        .await
        .unwrap();
    assert_eq!(super::commands::one_cell(stale.reply).free, 5);
    for node in [1, 2] {
        cluster.start_node(node).await;
    }
    cluster.must(reserve("tea", 1, 600_000)).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_sync_stops_the_replica_and_the_others_go_on() {
    let mut cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    let leader = cluster.leader().await;
    let node = cluster.node(leader);
    cluster.fault_disk(leader).fail_sync_after(0);
    let why = tokio::time::timeout(PATIENCE, node.fatal())
        .await
        .expect("the replica dies");
    assert!(why.contains("sync"), "{why}");
    assert_eq!(node.status().role, Role::Stopped);
    assert!(node.status().stopped_because.is_some());
    let refused = node.submit(vec![reserve("tea", 1, 600_000)], deadline()).await;
    assert_eq!(refused, vec![Err(SubmitError::Stopped)]);
    drop(node);
    cluster.crash_node(leader).await;
    load.goes_on().await;
    cluster.start_node(leader).await;
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_violated_invariant_halts_the_replica_and_the_others_go_on() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    let broken = cluster.follower().await;
    let node = cluster.node(broken);
    // The ledger applies an entry that no log holds, so the next real entry cannot follow it.
    node.break_ledger(&Entry {
        log_time_ms: 0,
        commands: Vec::new(),
    })
    .await;
    cluster.must(receive("tea", 5)).await;
    eventually("the replica is halted", || node.status().role == Role::Halted).await;
    let halt = node.status().halted.unwrap();
    assert!(halt.what.contains("invariant violated"), "{halt}");
    assert_eq!(node.status().stopped_because, None, "its node goes on");
    let stale = node.query(cells("tea"), Freshness::Stale, deadline()).await;
    assert_eq!(stale, Err(QueryError::Stopped), "a wrong ledger must not be read");
    drop(node);
    cluster.crash_node(broken).await;
    cluster.must(receive("tea", 5)).await;
    // The disk of the node is right: the log still has the same entries.
    cluster.start_node(broken).await;
    cluster.agree().await;
    assert_eq!(cluster.cell(broken, "tea").await.free, 15);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_is_handed_over_on_demand() {
    let cluster = Cluster::start().await;
    let load = Load::start(&cluster).await;
    let (leader, follower) = (cluster.leader().await, cluster.follower().await);
    assert_eq!(
        cluster.node(follower).transfer_leader(None).await,
        Err(TransferError::NotLeader { leader: Some(leader) })
    );
    assert_eq!(
        cluster.node(leader).transfer_leader(Some(9)).await,
        Err(TransferError::NotAVoter(9))
    );
    assert_eq!(
        cluster.node(leader).transfer_leader(Some(leader)).await,
        Ok(leader)
    );
    assert_eq!(
        cluster.node(leader).transfer_leader(Some(follower)).await,
        Ok(follower)
    );
    load.goes_on().await;
    load.settle(&cluster).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_from_a_peer_is_refused_and_changes_nothing() {
    let cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    let node = cluster.node(1);
    for garbage in [&b""[..], b"\x00", b"\x01", b"\x01\xff\xff\xff\xff\xff", &[7; 300]] {
        let garbage = Bytes::from_static(garbage);
        assert!(node.handle_raft(garbage.clone()).await.is_err());
        let data = futures::stream::iter([Ok(garbage.clone())]).boxed();
        assert!(node.handle_snapshot(garbage.clone(), data).await.is_err());
        let answer = node.handle_forward(garbage).await;
        assert!(!answer.is_empty());
    }
    assert!(node.metrics().malformed_messages >= 15);
    let results = join_all((1..=3).map(|to| cluster.submit(to, reserve("tea", 1, 600_000)))).await;
    assert!(results.iter().all(|result| success(result).is_some()));
    cluster.agree().await;
    cluster.stop().await;
}
