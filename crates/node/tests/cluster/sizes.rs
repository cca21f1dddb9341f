//! Requests of few bytes that cause very many changes.

use holdfast_api::v1;
use v1::batch_item::Request as Item;
use v1::batch_result::Result as Kind;

use crate::batches::{Batch, arrival};
use crate::support::*;

const LINES: usize = 1024;
const ORDERS: usize = 160;

fn sku(line: usize) -> String {
    format!("SKU-{line:04}")
}

fn order() -> v1::ReserveRequest {
    let line = |line| v1::ReserveLine {
        sku: sku(line),
        quantity: 1,
        source: None,
    };
    v1::ReserveRequest {
        lines: (0..LINES).map(line).collect(),
        ..reserve(&id(), "", 1)
    }
}

/// Reads all changes from `from_seq` on through one node, as a client with gRPC's usual limit for a message.
async fn all_changes(cluster: &TestCluster, index: usize, from_seq: u64) -> Vec<v1::TailChangesResponse> {
    let request = v1::TailChangesRequest {
        from_seq,
        ..Default::default()
    };
    let mut stream = cluster
        .changes(index)
        .tail_changes(request)
        .await
        .unwrap()
        .into_inner();
    let mut messages = Vec::new();
    while let Some(message) = stream.message().await.unwrap() {
        messages.push(message);
    }
    messages
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_160_commits_of_1024_lines_is_done_and_every_client_can_read_its_changes() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = 1).await;
    let mut batch = Batch::open(&cluster, 0).await;
    let stock = (0..LINES).map(|line| Item::Receive(arrival(&id(), &sku(line), 1_000)));
    let stocked = batch.send(stock.collect()).await;
    assert!(stocked.iter().all(|result| matches!(result, Kind::Stocked(_))));
    let orders: Vec<v1::ReserveRequest> = (0..ORDERS).map(|_| order()).collect();
    for some in orders.chunks(40) {
        let reserved = batch
            .send(some.iter().cloned().map(Item::Reserve).collect())
            .await;
        assert!(reserved.iter().all(|result| matches!(result, Kind::Reserved(_))));
    }
    let commit = |order: &v1::ReserveRequest| {
        let operation = order.operation.as_ref().unwrap();
        Item::Commit(v1::CommitRequest {
            operation: operation_with(id()),
            reservation: key(&operation.operation_id),
        })
    };
    let committed = batch.send(orders.iter().map(commit).collect()).await;
    assert!(
        committed
            .iter()
            .all(|result| matches!(result, Kind::Transitioned(_)))
    );

    // A node that starts again applies the entries again.
    cluster.stop(2).await;
    cluster.start_again(2).await;
    cluster.ready().await;
    let total = (LINES + 2 * ORDERS * LINES) as u64;
    for index in 0..3 {
        let messages = eventually("the replica has applied all", || async {
            let messages = all_changes(&cluster, index, 1).await;
            (messages.last()?.through_seq == total).then_some(messages)
        })
        .await;
        let changes: Vec<&v1::Change> = messages.iter().flat_map(|message| &message.changes).collect();
        assert!(changes.iter().map(|change| change.seq).eq(1..=total));
        let large = changes.iter().max_by_key(|change| change.entry_changes).unwrap();
        assert!((12_000..=65_536).contains(&large.entry_changes));
        assert!(messages.iter().any(|message| message.continues));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_order_within_the_limits_of_its_fields_is_granted_through_every_node() {
    let cluster = TestCluster::start_with(3, |config| config.shards.count = 1).await;
    // 128 bytes.
    let name = |line: usize| format!("{}{line:04}", "ö".repeat(62));
    let warehouses: Vec<String> = (0..64).map(|number| format!("{number:032}")).collect();
    let mut batch = Batch::open(&cluster, 0).await;
    let stock = (0..LINES).map(|line| {
        Item::Receive(v1::ReceiveRequest {
            warehouse: warehouses[63].clone(),
            ..arrival(&id(), &name(line), 3)
        })
    });
    let stocked = batch.send(stock.collect()).await;
    assert!(stocked.iter().all(|result| matches!(result, Kind::Stocked(_))));
    for index in 0..3 {
        let line = |line| v1::ReserveLine {
            sku: name(line),
            quantity: 1,
            source: Some(v1::Source {
                kind: Some(v1::source::Kind::Preference(v1::WarehouseList {
                    warehouses: warehouses.clone(),
                })),
            }),
        };
        let request = v1::ReserveRequest {
            storefront: "s".repeat(32),
            lines: (0..LINES).map(line).collect(),
            ..reserve(&id(), "", 1)
        };
        let answer = cluster.reservations(index).reserve(request).await.unwrap();
        let lines = answer.into_inner().lines;
        assert_eq!(lines.iter().map(|line| line.granted).sum::<i64>(), LINES as i64);
    }
}
