//! Tests of the largest orders, in the largest entries.

use std::collections::BTreeMap;

use holdfast_ledger::{
    Action, Command, OperationId, Outcome, ReserveLine, ReserveMode, Source, Sourcing, StorefrontId,
};

use super::cluster::{Cluster, check_changes, deadline};
use super::commands::{command, new_id, receive, sku, success};
use crate::limits::ENTRY_CHANGES;

const LINES: usize = 1024;

fn name(line: usize) -> String {
    format!("sku-{line:04}")
}

fn large_order() -> Command {
    let line = |line| ReserveLine {
        sku: sku(&name(line)),
        quantity: 1,
        source: Source::Any,
    };
    let action = Action::Reserve {
        storefront: StorefrontId::new("web").unwrap(),
        lines: (0..LINES).map(line).collect(),
        ttl_ms: 3_600_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    };
    command(new_id(), action)
}

async fn submit_all(cluster: &Cluster, node: u64, commands: Vec<Command>) -> Vec<Outcome> {
    let results = cluster.node(node).submit(commands, deadline()).await;
    results
        .into_iter()
        .map(|result| {
            assert!(success(&result).is_some(), "{result:?}");
            result.unwrap()
        })
        .collect()
}

/// Returns how many changes each entry made, by its index.
fn sizes(cluster: &Cluster, node: u64) -> BTreeMap<u64, usize> {
    let handle = cluster.node(node);
    let reader = handle.changes().unwrap();
    let mut sizes = BTreeMap::new();
    let mut next = 1;
    while next <= handle.status().last_seq {
        for change in reader.read(next, 1 << 20).unwrap() {
            *sizes.entry(change.log_index).or_default() += 1;
            next = change.seq + 1;
        }
    }
    sizes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_commits_of_large_orders_is_split_over_entries() {
    let mut cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    let follower = cluster.follower().await;
    let stock = (0..LINES).map(|line| receive(&name(line), 10_000)).collect();
    submit_all(&cluster, leader, stock).await;
    let orders: Vec<Command> = (0..160).map(|_| large_order()).collect();
    let ids: Vec<OperationId> = orders.iter().map(|order| order.operation_id).collect();
    submit_all(&cluster, follower, orders).await;
    let commit = |reservation_id: &OperationId| {
        let commit = Action::Commit {
            reservation_id: *reservation_id,
        };
        command(new_id(), commit)
    };
    submit_all(&cluster, follower, ids.iter().map(commit).collect()).await;
    cluster.agree().await;
    let sizes = sizes(&cluster, follower);
    assert!(
        sizes.values().all(|changes| *changes <= ENTRY_CHANGES),
        "{sizes:?}"
    );
    assert_eq!(sizes.values().sum::<usize>(), 1 + LINES + 2 * 160 * LINES);
    // A replica that starts again applies these entries again.
    cluster.stop_node(follower).await;
    cluster.start_node(follower).await;
    cluster.agree().await;
    check_changes(&cluster.node(follower));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_and_their_commits_in_one_batch_are_weighed_together() {
    let cluster = Cluster::start_with_a_lasting_leader().await;
    let leader = cluster.leader().await;
    let stock = (0..LINES).map(|line| receive(&name(line), 10_000)).collect();
    submit_all(&cluster, leader, stock).await;
    let both = (0..80).flat_map(|_| {
        let order = large_order();
        let reservation_id = order.operation_id;
        [order, command(new_id(), Action::Commit { reservation_id })]
    });
    submit_all(&cluster, leader, both.collect()).await;
    cluster.agree().await;
    let sizes = sizes(&cluster, leader);
    assert!(
        sizes.values().all(|changes| *changes <= ENTRY_CHANGES),
        "{sizes:?}"
    );
    cluster.stop().await;
}
