//! Goods that are not there yet: transfers, supplies, backorders, and what can be promised from them.

use holdfast_api::v1;
use holdfast_api::v1::Reason;
use holdfast_api::v1::availability_client::AvailabilityClient;
use holdfast_api::v1::transfers_client::TransfersClient;

use crate::support::{TestCluster, id, operation, operation_with, reason, reserve};

/// 2 January 2100.
const LATER_MS: u64 = 4_102_531_200_000;

fn transfer_line(sku: &str, quantity: i64) -> v1::TransferLine {
    v1::TransferLine {
        sku: sku.into(),
        quantity,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_is_found_through_any_node_and_arrives_in_parts() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "SHIRT", 10).await;
    let transfer_id = id();
    let out = v1::TransferOutRequest {
        operation: operation_with(transfer_id.clone()),
        lines: vec![transfer_line("SHIRT", 6)],
        from_warehouse: "W1".into(),
        to_warehouse: "W2".into(),
        expected_at_ms: LATER_MS,
    };
    TransfersClient::new(cluster.channel(0))
        .transfer_out(out)
        .await
        .unwrap();
    let key = || {
        Some(v1::TransferKey {
            transfer_id: transfer_id.clone(),
            shard: None,
        })
    };
    let arrive = |quantity| v1::TransferInRequest {
        operation: operation(),
        transfer: key(),
        lines: vec![transfer_line("SHIRT", quantity)],
        disposition: v1::Disposition::Damaged.into(),
    };
    // This node has not seen the transfer, so it asks every shard.
    let mut other = TransfersClient::new(cluster.channel(1));
    other.transfer_in(arrive(4)).await.unwrap();
    let status = other.transfer_in(arrive(3)).await.unwrap_err();
    assert_eq!(reason(&status), Reason::ExceedsLine);
    let get = v1::GetTransferRequest {
        transfer: key(),
        ..Default::default()
    };
    let transfer = TransfersClient::new(cluster.channel(2)).get_transfer(get).await;
    let transfer = transfer.unwrap().into_inner().transfer.unwrap();
    let line = &transfer.lines[0];
    assert_eq!(
        (line.sent, line.received, line.written_off, line.in_transit),
        (6, 4, 0, 2)
    );
    let list = v1::ListTransfersRequest {
        shard: transfer.shard,
        limit: 10,
        ..Default::default()
    };
    let listed = other.list_transfers(list.clone()).await.unwrap().into_inner();
    assert_eq!(listed.transfers, [transfer]);
    let close = || v1::CloseTransferRequest {
        operation: operation(),
        transfer: key(),
    };
    other.close_transfer(close()).await.unwrap();
    let status = other.close_transfer(close()).await.unwrap_err();
    assert_eq!(reason(&status), Reason::TransferClosed);
    let none = other.list_transfers(list).await.unwrap().into_inner();
    assert_eq!(none.transfers, []);
    let unknown = v1::CloseTransferRequest {
        operation: operation(),
        transfer: Some(v1::TransferKey {
            transfer_id: id(),
            shard: None,
        }),
    };
    let status = other.close_transfer(unknown).await.unwrap_err();
    assert_eq!(reason(&status), Reason::UnknownTransfer);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_expected_can_be_promised_sold_beyond_stock_and_is_filled_when_it_comes() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "SHIRT", 2).await;
    let expect = v1::ExpectSupplyRequest {
        operation: operation(),
        sku: "SHIRT".into(),
        warehouse: "W1".into(),
        supply_id: "po#1".into(),
        quantity: 5,
        expected_at_ms: LATER_MS,
    };
    cluster.stock(1).expect_supply(expect).await.unwrap();
    let policy = v1::SetPolicyRequest {
        operation: operation(),
        sku: "SHIRT".into(),
        storefront: "web".into(),
        may_borrow: true,
        backorder_limit: 3,
        ..Default::default()
    };
    cluster.stock(1).set_policy(policy).await.unwrap();
    let granted = cluster.reservations(2).reserve(reserve(&id(), "SHIRT", 4)).await;
    let taken = granted
        .unwrap()
        .into_inner()
        .lines
        .remove(0)
        .allocations
        .remove(0);
    assert_eq!((taken.from_free, taken.from_backorder), (2, 2));
    assert_eq!(taken.reason(), v1::SourcingReason::MostAvailable);
    let check = v1::CheckAvailabilityRequest {
        storefront: "web".into(),
        skus: vec!["SHIRT".into()],
        ..Default::default()
    };
    let mut availability = AvailabilityClient::new(cluster.channel(0));
    let found = availability.check_availability(check).await.unwrap().into_inner();
    assert_eq!((found.skus[0].available, found.skus[0].backorderable), (0, 1));
    let ask = v1::PromiseRequest {
        storefront: "web".into(),
        sku: "SHIRT".into(),
        ..Default::default()
    };
    let promise = availability.promise(ask).await.unwrap().into_inner();
    let date = v1::PromiseDate {
        at_ms: LATER_MS,
        arriving: 5,
        available: 3,
    };
    assert_eq!(
        (promise.available_now, promise.owed, promise.dates),
        (0, 2, vec![date])
    );
    let delivery = v1::ReceiveRequest {
        operation: operation(),
        sku: "SHIRT".into(),
        warehouse: "W1".into(),
        quantity: 3,
        supply_id: "po#1".into(),
    };
    cluster.stock(0).receive(delivery).await.unwrap();
    let cell = cluster.cell(0, "SHIRT").await;
    assert_eq!(
        (cell.on_hand, cell.free, cell.held, cell.backordered),
        (5, 1, 4, 0)
    );
    let list = v1::ListSuppliesRequest {
        sku: "SHIRT".into(),
        ..Default::default()
    };
    let listed = cluster.stock(2).list_supplies(list).await.unwrap().into_inner();
    assert_eq!(listed.supplies[0].quantity, 2);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deficit_names_the_promises_that_are_short() {
    let cluster = TestCluster::start().await;
    let receipt = cluster.receive(0, "SHIRT", 5).await.receipt.unwrap();
    let shard = receipt.position.unwrap().shard;
    let (older, newer) = (id(), id());
    for reservation in [&older, &newer] {
        let held = cluster
            .reservations(0)
            .reserve(reserve(reservation, "SHIRT", 2))
            .await;
        held.unwrap();
    }
    let count = v1::CountRequest {
        operation: operation(),
        sku: "SHIRT".into(),
        warehouse: "W1".into(),
        counted: 3,
        as_of_seq: None,
    };
    cluster.stock(0).count(count).await.unwrap();
    let list = v1::ListDeficitsRequest {
        shard,
        limit: 20,
        ..Default::default()
    };
    let listed = cluster.stock(1).list_deficits(list).await.unwrap().into_inner();
    let [deficit] = &listed.deficits[..] else {
        panic!("{listed:?}")
    };
    let short: Vec<_> = deficit
        .reservations
        .iter()
        .map(|affected| {
            (
                affected.reservation_id.clone(),
                affected.quantity,
                affected.missing,
            )
        })
        .collect();
    assert_eq!(short, [(older, 2, 0), (newer, 2, 1)]);
    let none = v1::ListDeficitsRequest {
        shard,
        limit: 21,
        ..Default::default()
    };
    let status = cluster.stock(1).list_deficits(none).await.unwrap_err();
    assert_eq!(reason(&status), Reason::InvalidRequest);
    cluster.stop_all().await;
}
