//! Tests transfers over several shards: units that an order has reserved leave by a transfer.

use bytes::Bytes;
use holdfast_api::v1::{Bucket, ReservationState, TransferEffect};

use super::*;

/// Makes an order of three shirts, paid in shards 0 and 1. Both send their shirts to WEST.
fn sent() -> (Shop, [u8; 16]) {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.commit_everywhere(&[0, 1], id);
    for shard in 0..2 {
        dispatch(&mut shop, shard, id, id);
    }
    (shop, id)
}

fn dispatch(shop: &mut Shop, shard: usize, id: [u8; 16], transfer: [u8; 16]) {
    let world = &mut shop.worlds[shard];
    let operation = world.next_operation();
    let transfer = TransferEffect {
        transfer_id: Bytes::copy_from_slice(&transfer),
        from_warehouse: "EAST".into(),
        to_warehouse: "WEST".into(),
        quantity: 3,
        in_transit: 3,
        ..TransferEffect::default()
    };
    let hold = world.holds.iter_mut().find(|hold| hold.id == id).unwrap();
    hold.state = ReservationState::Shipped;
    hold.parts[0].committed = 0;
    let reservation = v1::ReservationEffect {
        reservation_id: Bytes::copy_from_slice(&id),
        line: hold.parts[0].line,
        state: ReservationState::Shipped.into(),
        expires_at_ms: hold.expires_at_ms,
        requested: 3,
        quantity: 3,
        ..v1::ReservationEffect::default()
    };
    let leaves = [(Bucket::OnHand, -3), (Bucket::Committed, -3)];
    let kind = ChangeKind::TransferredOut;
    let change = world.write(kind, ("SHIRT", "EAST", "web"), &leaves, Some(operation));
    change.reservation = Some(reservation);
    change.transfer = Some(transfer.clone());
    let change = world.write(
        kind,
        ("SHIRT", "WEST", ""),
        &[(Bucket::InTransit, 3)],
        Some(operation),
    );
    change.transfer = Some(transfer);
    world.end_entry();
}

#[test]
fn a_transfer_of_what_an_order_reserved_is_clean() {
    let (shop, _) = sent();
    let report = shop.verify();
    assert!(report.ok, "{report}");
    assert_eq!((report.reservations, report.orders.parts), (1, 2));
}

#[test]
fn units_that_left_by_a_transfer_were_not_shipped_and_cannot_come_back() {
    let (mut shop, id) = sent();
    let world = &mut shop.worlds[1];
    let at = world.holds.iter().position(|hold| hold.id == id).unwrap();
    world.holds[at].parts[0].shipped = 3;
    assert!(world.move_units(at, ChangeKind::Returned, 2));
    world.end_entry();
    shop.assert_only(Check::ReturnedTooMuch);
}

#[test]
fn what_leaves_for_another_transfer_than_its_own_is_found() {
    let mut shop = Shop::new(2);
    let id = shop.held(&[0, 1]);
    shop.commit_everywhere(&[0, 1], id);
    let other = shop.operation();
    dispatch(&mut shop, 0, id, id);
    dispatch(&mut shop, 1, id, other);
    let report = shop.verify();
    assert!(report.counts.contains_key(&Check::WrongTransfer), "{report}");
}

#[test]
fn what_leaves_free_units_in_the_name_of_a_reservation_is_found() {
    let (mut shop, _) = sent();
    let history = &mut shop.worlds[0].history;
    let change = history
        .iter_mut()
        .find(|change| change.kind() == ChangeKind::TransferredOut);
    let moved = change
        .unwrap()
        .moves
        .iter_mut()
        .find(|moved| moved.bucket() == Bucket::Committed);
    moved.unwrap().bucket = Bucket::Free.into();
    let report = shop.verify();
    assert!(!report.ok, "{report}");
}
