//! Transfers whose SKUs live in several shards.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_api::v1;
use tonic::Code;
use v1::{ChangeKind, Reason};

use crate::support::{TestCluster, eventually, id, key, operation, operation_with, reason, reserve};

const SKUS: &str = "ABCDEFGH";

async fn stocked(quantity: i64) -> TestCluster {
    let cluster = TestCluster::start().await;
    for sku in SKUS.chars() {
        cluster.receive(0, &sku.to_string(), quantity).await;
    }
    let shards: BTreeSet<u32> = cluster_shards(&cluster).await;
    assert!(shards.len() > 1, "the SKUs live in one shard");
    cluster
}

/// Returns the shards that have stock.
async fn cluster_shards(cluster: &TestCluster) -> BTreeSet<u32> {
    let mut with_stock = BTreeSet::new();
    for shard in 0..cluster.topology(0).await.shards.len() as u32 {
        if !cluster.all_changes(0, shard).await.is_empty() {
            with_stock.insert(shard);
        }
    }
    with_stock
}

fn lines(skus: &str, quantity: i64) -> Vec<v1::TransferLine> {
    let line = |sku: char| v1::TransferLine {
        sku: sku.to_string(),
        quantity,
    };
    skus.chars().map(line).collect()
}

fn out(transfer_id: &Bytes, to: &str) -> v1::TransferOutRequest {
    v1::TransferOutRequest {
        operation: operation_with(transfer_id.clone()),
        lines: lines(SKUS, 2),
        from_warehouse: "W1".into(),
        to_warehouse: to.into(),
        expected_at_ms: 0,
    }
}

fn transfer_key(transfer_id: &Bytes) -> Option<v1::TransferKey> {
    Some(v1::TransferKey {
        transfer_id: transfer_id.clone(),
        shard: None,
    })
}

async fn read(cluster: &TestCluster, index: usize, transfer_id: &Bytes) -> v1::Transfer {
    let request = v1::GetTransferRequest {
        transfer: transfer_key(transfer_id),
        consistency: v1::Consistency::Linearizable.into(),
    };
    let answer = cluster.transfers(index).get_transfer(request).await.unwrap();
    answer.into_inner().transfer.unwrap()
}

/// Returns the quantities on hand in W1, in transit to W2, and on hand in W2.
async fn places(cluster: &TestCluster, sku: char) -> (i64, i64, i64) {
    let request = v1::GetStockRequest {
        sku: sku.to_string(),
        ..Default::default()
    };
    let cells = cluster
        .stock(1)
        .get_stock(request)
        .await
        .unwrap()
        .into_inner()
        .cells;
    let cell = |warehouse: &str| cells.iter().find(|cell| cell.warehouse == warehouse);
    let (near, far) = (cell("W1").unwrap(), cell("W2"));
    assert_eq!((near.held, near.committed), (0, 0), "nothing is left reserved");
    let far = far.map_or((0, 0), |far| (far.in_transit, far.on_hand));
    (near.on_hand, far.0, far.1)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_over_all_shards_leaves_whole_and_arrives_in_parts_through_any_node() {
    let cluster = stocked(3).await;
    let transfer_id = id();
    let left = cluster.transfers(0).transfer_out(out(&transfer_id, "W2")).await;
    let receipt = left.unwrap().into_inner().receipt.unwrap();
    assert!(!receipt.replayed);
    let position = receipt.position.unwrap();
    let departed = |change: &v1::Change| {
        change.kind() == ChangeKind::TransferredOut && change.log_index == position.log_index
    };
    let changes = cluster.all_changes(0, position.shard).await;
    assert!(changes.iter().any(departed), "nothing left there: {position:?}");
    let again = cluster.transfers(1).transfer_out(out(&transfer_id, "W2")).await;
    let again = again.unwrap().into_inner().receipt.unwrap();
    assert_eq!((again.replayed, again.position), (true, Some(position)));
    let elsewhere = cluster.transfers(2).transfer_out(out(&transfer_id, "W3")).await;
    assert_eq!(reason(&elsewhere.unwrap_err()), Reason::OperationIdReused);
    for sku in SKUS.chars() {
        assert_eq!(places(&cluster, sku).await, (1, 2, 0));
    }
    let whole = read(&cluster, 2, &transfer_id).await;
    let told: BTreeSet<_> = whole
        .lines
        .iter()
        .map(|line| (line.sku.as_str(), line.in_transit))
        .collect();
    let sent = lines(SKUS, 2);
    assert_eq!(told, sent.iter().map(|line| (line.sku.as_str(), 2)).collect());
    assert_eq!((whole.lines.len(), whole.closed_at_ms), (SKUS.len(), 0));

    let arrive = |lines| v1::TransferInRequest {
        operation: operation(),
        transfer: transfer_key(&transfer_id),
        lines,
        disposition: v1::Disposition::Restock.into(),
    };
    let some = arrive(lines("AHC", 1));
    cluster.transfers(2).transfer_in(some.clone()).await.unwrap();
    let again = cluster.transfers(0).transfer_in(some).await.unwrap().into_inner();
    assert!(again.receipt.unwrap().replayed);
    let ship = v1::ShipRequest {
        operation: operation(),
        reservation: key(&transfer_id),
        lines: Vec::new(),
    };
    let not_an_order = cluster.reservations(1).ship(ship).await.unwrap_err();
    assert_eq!(not_an_order.code(), Code::InvalidArgument);
    let close = v1::CloseTransferRequest {
        operation: operation(),
        transfer: transfer_key(&transfer_id),
    };
    cluster
        .transfers(1)
        .transfer_in(arrive(lines("BDEFG", 2)))
        .await
        .unwrap();
    cluster.transfers(2).close_transfer(close).await.unwrap();
    for sku in SKUS.chars() {
        let arrived = if "AHC".contains(sku) { 1 } else { 2 };
        assert_eq!(places(&cluster, sku).await, (1, 0, arrived), "{sku}");
    }
    let whole = read(&cluster, 0, &transfer_id).await;
    let sum = |of: fn(&v1::TransferProgress) -> i64| whole.lines.iter().map(of).sum::<i64>();
    assert_eq!((sum(|line| line.received), sum(|line| line.written_off)), (13, 3));
    assert!(whole.closed_at_ms > 0);
    let late = cluster
        .transfers(0)
        .transfer_in(arrive(Vec::new()))
        .await
        .unwrap_err();
    assert_eq!(reason(&late), Reason::TransferClosed);
    let mut left = 0;
    for shard in cluster_shards(&cluster).await {
        for change in cluster.all_changes(1, shard).await {
            if change.kind() == ChangeKind::TransferredOut && change.reservation.is_some() {
                left += change.transfer.unwrap().quantity;
            }
        }
    }
    assert_eq!(left, 2 * SKUS.len() as i64);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_that_lacks_free_units_in_one_shard_leaves_none_and_its_storefront_is_nobody_elses() {
    let cluster = stocked(2).await;
    cluster
        .reservations(0)
        .reserve(reserve(&id(), "C", 1))
        .await
        .unwrap();
    let transfer_id = id();
    let refused = cluster
        .transfers(1)
        .transfer_out(out(&transfer_id, "W2"))
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), Reason::InsufficientStock);
    let refusal = holdfast_api::reasons::refusal_in(&refused).unwrap();
    let short: Vec<_> = refusal
        .shortages
        .iter()
        .map(|short| (short.line, short.available))
        .collect();
    assert_eq!(short, [(2, 1)]);
    for sku in SKUS.chars().filter(|sku| *sku != 'C') {
        eventually("everything is free again", || async {
            (cluster.cell(0, &sku.to_string()).await.free == 2).then_some(())
        })
        .await;
    }
    let request = v1::GetTransferRequest {
        transfer: transfer_key(&transfer_id),
        consistency: v1::Consistency::Linearizable.into(),
    };
    let unknown = cluster.transfers(0).get_transfer(request).await.unwrap_err();
    assert_eq!(reason(&unknown), Reason::UnknownTransfer);
    let mut reserved = reserve(&id(), "A", 1);
    reserved.storefront = "holdfast:transfer".into();
    let refused = cluster.reservations(0).reserve(reserved).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::InvalidRequest);
    cluster.stop_all().await;
}
