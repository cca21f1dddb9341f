//! Tests of entries that cannot be applied: which replicas halt, and the way out.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::join_all;
use holdfast_ledger::{Command, Reference};
use tokio::time::Instant;

use super::cluster::{Cluster, LATER, PATIENCE, deadline, eventually};
use super::commands::{SubmitResult, cells, receive, reserve, success, was_replayed};
use crate::defect::{self, MARK};
use crate::{
    DecideError, EntryRule, Freshness, Halt, HaltCause, QueryError, ReplicaId, Role, ShardHandle, Step,
    SubmitError, Target,
};

/// Makes a command that breaks the ledger of every replica, except those whose program is mended.
fn breaking(name: &str) -> Command {
    let mut command = receive("tea", 7_000);
    command.reference = Reference::new(format!("{MARK}-{name}")).unwrap();
    command
}

async fn submit_for(node: &ShardHandle, command: Command, patience: Duration) -> SubmitResult {
    let results = node.submit(vec![command], Instant::now() + patience).await;
    results.into_iter().next().unwrap()
}

fn halt_of(node: &ShardHandle) -> Option<Halt> {
    node.status().halted
}

/// Waits until all running replicas are halted at the same entry, and returns their halt.
async fn all_halted(cluster: &Cluster) -> Halt {
    let running = cluster.running();
    eventually("all replicas are halted at one entry", || {
        let halts: Vec<_> = running.iter().map(halt_of).collect();
        halts[0].is_some() && halts.iter().all(|halt| *halt == halts[0])
    })
    .await;
    halt_of(&running[0]).unwrap()
}

async fn nobody_halted(cluster: &Cluster) {
    let running = cluster.running();
    eventually("all replicas go on", || {
        running.iter().all(|node| halt_of(node).is_none())
    })
    .await;
}

/// Asks each leader until one accepts the decision: leadership moves while replicas are halted.
async fn decide(cluster: &Cluster, mut index: u64) {
    let give_up = deadline();
    loop {
        for node in cluster.running() {
            let soon = Instant::now() + Duration::from_secs(5);
            let decided = node.decide_entry(index, EntryRule::Refuse, "operator".into(), soon);
            match decided.await {
                Ok(()) => return,
                Err(DecideError::NotHalted) => return,
                Err(DecideError::NotLeader { .. } | DecideError::OutcomeUnknown) => {}
                // The decision was repeated while leadership moved, so it may be in the log twice.
                Err(DecideError::AnotherEntry { halted_at }) if halted_at > index => index = halted_at,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(Instant::now() < give_up, "nobody takes the decision");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_no_replica_can_apply_is_refused_by_a_rule_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start_with(|options| {
        options.snapshot_every_entries = 20;
        options.keep_entries_for_laggards = 100;
    })
    .await;
    cluster.must(receive("tea", 50)).await;
    let order = reserve("tea", 20, 600_000);
    cluster.must(order.clone()).await;
    cluster.agree().await;
    let behind = cluster.follower().await;
    cluster.stop_node(behind).await;

    let broken = breaking("no-replica");
    let leader = cluster.node(cluster.leader().await);
    let unknown = submit_for(&leader, broken.clone(), Duration::from_secs(3)).await;
    assert_eq!(
        unknown,
        Err(SubmitError::OutcomeUnknown),
        "it was proposed, and nobody applies it"
    );
    let halt = all_halted(&cluster).await;
    assert_eq!(halt.cause, HaltCause::Violation);
    assert_eq!((halt.commands, halt.named[0].kind), (1, "Receive"));
    assert_eq!(halt.named[0].operation_id, broken.operation_id);
    let said = halt.to_string();
    assert!(
        said.contains(&broken.operation_id.to_string()) && said.contains(MARK),
        "{said}"
    );

    // Nobody gets an answer, and nothing more is proposed.
    for node in cluster.running() {
        assert_eq!(node.status().role, Role::Halted);
        assert_eq!(node.status().applied_index, halt.index - 1);
        let refused = submit_for(&node, receive("tea", 1), Duration::from_millis(300)).await;
        assert!(
            matches!(
                refused,
                Err(SubmitError::Stopped | SubmitError::Deadline | SubmitError::NoLeader)
            ),
            "{refused:?}"
        );
        let stale = node.query(cells("tea"), Freshness::Stale, deadline()).await;
        assert_eq!(stale, Err(QueryError::Stopped));
    }

    // One replica comes back with the same obstacle, and one that was away meets it at this point.
    let again = cluster.follower().await;
    cluster.crash_node(again).await;
    cluster.start_node(again).await;
    cluster.start_node(behind).await;
    assert_eq!(all_halted(&cluster).await, halt);
    assert!(
        cluster
            .running()
            .iter()
            .all(|node| node.metrics().snapshots_installed == 0)
    );

    // A decision on another entry is refused.
    let wrong = halt.index + 1;
    for node in cluster.running() {
        let soon = Instant::now() + Duration::from_secs(5);
        let taken = node
            .decide_entry(wrong, EntryRule::Refuse, "operator".into(), soon)
            .await;
        assert!(
            matches!(
                taken,
                Err(DecideError::AnotherEntry { .. } | DecideError::NotLeader { .. })
            ),
            "{taken:?}"
        );
    }
    decide(&cluster, halt.index).await;
    nobody_halted(&cluster).await;
    let again = cluster.submit(1, order.clone()).await;
    assert!(success(&again).is_some_and(was_replayed), "{again:?}");
    let cell = cluster.cell(2, "tea").await;
    assert_eq!(
        (cell.free, cell.held),
        (30, 20),
        "the refused command had no effect"
    );
    cluster.agree().await;

    // All that read this log later decide in the same way: from their own disks, and as a newcomer.
    for node in 1..=3 {
        cluster.crash_node(node).await;
    }
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    nobody_halted(&cluster).await;
    cluster.must(receive("tea", 1)).await;
    cluster.agree().await;
    cluster.start_newcomer(4).await;
    let newcomer = ReplicaId {
        generation: LATER,
        ..ReplicaId::founder(4)
    };
    let voters: BTreeSet<ReplicaId> = (1..=3).map(ReplicaId::founder).chain([newcomer]).collect();
    let target = Target {
        voters,
        learners: BTreeSet::new(),
    };
    let give_up = deadline();
    'moved: loop {
        for node in cluster.running() {
            if node.step_towards(&target).await == Ok(Step::Reached) {
                break 'moved;
            }
        }
        assert!(Instant::now() < give_up, "the newcomer gets no vote");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nobody_halted(&cluster).await;
    cluster.agree().await;
    assert_eq!(cluster.cell(4, "tea").await.free, 31);

    // Snapshots are built again, and contain the decision.
    for _ in 0..60 {
        cluster.must(receive("tea", 1)).await;
    }
    let built = cluster.running();
    eventually("snapshots are built behind the decision", || {
        built.iter().all(|node| node.status().snapshot_index > halt.index)
    })
    .await;
    for node in 1..=3 {
        cluster.stop_node(node).await;
    }
    for node in 1..=3 {
        cluster.start_node(node).await;
    }
    cluster.must(receive("tea", 1)).await;
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_can_apply_the_entry_goes_on_by_itself_and_the_others_wait_for_it() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 50)).await;
    cluster.agree().await;
    let broken = breaking("mended-later");
    submit_for(&cluster.node(1), broken.clone(), Duration::from_secs(3))
        .await
        .ok();
    let halt = all_halted(&cluster).await;
    defect::mend(broken.reference.as_str());
    for node in 1..=3 {
        cluster.stop_node(node).await;
        cluster.start_node(node).await;
    }
    nobody_halted(&cluster).await;
    let again = cluster.submit(2, broken).await;
    assert!(success(&again).is_some_and(was_replayed), "{again:?}");
    assert_eq!(cluster.cell(3, "tea").await.free, 7_050);
    assert!(cluster.node(1).status().applied_index >= halt.index);
    cluster.agree().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_applied_what_the_others_refused_halts_and_says_so() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 50)).await;
    cluster.agree().await;
    let ahead = cluster.follower().await;
    cluster.stop_node(ahead).await;
    let broken = breaking("ahead");
    let leader = cluster.node(cluster.leader().await);
    submit_for(&leader, broken.clone(), Duration::from_secs(3))
        .await
        .ok();
    let halt = all_halted(&cluster).await;
    // This node alone runs the next version of the program. The halted ones do not look at the entry again.
    defect::mend(broken.reference.as_str());
    let node = cluster.start_node(ahead).await;
    eventually("the next version has applied the entry", || {
        node.status().applied_index >= halt.index
    })
    .await;
    // While that node is away, the others refuse the entry. No operator's tool does this while a replica is
    // ahead.
    cluster.stop_node(ahead).await;
    all_halted(&cluster).await;
    decide(&cluster, halt.index).await;
    nobody_halted(&cluster).await;
    let node = cluster.start_node(ahead).await;
    eventually("the one ahead notices", || {
        halt_of(&node).is_some_and(|halt| halt.cause == HaltCause::DecidedOtherwise)
    })
    .await;
    cluster.must(receive("tea", 1)).await;
    let others: Vec<_> = (1..=3).filter(|other| *other != ahead).collect();
    for other in others {
        assert_eq!(cluster.cell(other, "tea").await.free, 51);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_alone_cannot_apply_an_entry_hands_over_and_is_right_again_after_a_restart() {
    let mut cluster = Cluster::start().await;
    cluster.must(receive("tea", 5)).await;
    cluster.agree().await;
    let broken = cluster.leader().await;
    let node = cluster.node(broken);
    // The ledger applies an entry that no log holds, so the next real entry cannot follow it.
    node.break_ledger(&holdfast_ledger::Entry {
        log_time_ms: 0,
        commands: Vec::new(),
    })
    .await;
    let other = (1..=3).find(|other| *other != broken).unwrap();
    submit_for(&cluster.node(other), receive("cup", 5), Duration::from_secs(3))
        .await
        .ok();
    eventually("it is halted", || halt_of(&node).is_some()).await;
    eventually("another leads", || {
        let leader = cluster.node(other).leader();
        leader.is_some_and(|leader| leader != broken)
    })
    .await;
    let served = submit_for(&cluster.node(other), receive("tea", 5), PATIENCE).await;
    assert!(success(&served).is_some(), "{served:?}");
    // The halted node helps as well: it forwards the request.
    let served = submit_for(&node, receive("tea", 5), PATIENCE).await;
    assert!(success(&served).is_some(), "{served:?}");
    drop(node);
    cluster.crash_node(broken).await;
    cluster.start_node(broken).await;
    nobody_halted(&cluster).await;
    cluster.agree().await;
    assert_eq!(cluster.cell(broken, "tea").await.free, 15);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_state_halts_the_replicas_at_the_next_snapshot_and_at_a_restart() {
    let mut cluster = Cluster::start_with(|options| options.snapshot_every_entries = 20).await;
    cluster.must(receive(MARK, 1)).await;
    for _ in 0..60 {
        let results = join_all((1..=3).map(|node| {
            let node = cluster.node(node);
            async move { submit_for(&node, receive("tea", 1), Duration::from_millis(500)).await }
        }))
        .await;
        if results.iter().all(Result::is_err) {
            break;
        }
    }
    let running = cluster.running();
    eventually("all replicas are halted with a wrong state", || {
        running
            .iter()
            .all(|node| halt_of(node).is_some_and(|halt| halt.cause == HaltCause::State))
    })
    .await;
    assert!(
        running.iter().all(|node| node.status().snapshot_index == 0),
        "no snapshot holds it"
    );
    let leader = cluster.node(cluster.leader().await);
    let halt = halt_of(&leader).unwrap();
    let soon = Instant::now() + Duration::from_secs(5);
    let decided = leader
        .decide_entry(halt.index, EntryRule::Refuse, "operator".into(), soon)
        .await;
    assert!(
        matches!(
            decided,
            Err(DecideError::NoRuleHelps(HaltCause::State) | DecideError::NotLeader { .. })
        ),
        "{decided:?}"
    );
    drop((running, leader));
    for node in 1..=3 {
        cluster.stop_node(node).await;
        let node = cluster.start_node(node).await;
        assert!(
            halt_of(&node).is_some(),
            "it is noticed before anybody is answered"
        );
    }
    cluster.stop().await;
}
