//! Tests backorders, transfers and supplies: sound ones pass, and others are found by name.

use super::*;

const TRANSFER: [u8; 16] = [7; 16];

/// Makes a change of a transfer from EAST to WEST.
fn transfer(
    world: &mut World,
    kind: ChangeKind,
    warehouse: &str,
    quantity: i64,
    in_transit: i64,
    moves: &[(Bucket, i64)],
) {
    let operation = match kind {
        ChangeKind::TransferredOut => TRANSFER,
        _ => world.next_operation(),
    };
    let change = world.write(kind, ("SHIRT", warehouse, ""), moves, Some(operation));
    change.transfer = Some(v1::TransferEffect {
        transfer_id: TRANSFER.to_vec().into(),
        from_warehouse: "EAST".into(),
        to_warehouse: "WEST".into(),
        expected_at_ms: 9,
        quantity,
        in_transit,
    });
}

fn leave(world: &mut World, quantity: i64) {
    let moves = [(Bucket::OnHand, -quantity), (Bucket::Free, -quantity)];
    transfer(
        world,
        ChangeKind::TransferredOut,
        "EAST",
        quantity,
        quantity,
        &moves,
    );
}

fn be_sent(world: &mut World, quantity: i64) {
    let moves = [(Bucket::InTransit, quantity)];
    transfer(
        world,
        ChangeKind::TransferredOut,
        "WEST",
        quantity,
        quantity,
        &moves,
    );
}

fn arrive(world: &mut World, quantity: i64, in_transit: i64) {
    let moves = [
        (Bucket::InTransit, -quantity),
        (Bucket::OnHand, quantity),
        (Bucket::Free, quantity),
    ];
    transfer(
        world,
        ChangeKind::TransferredIn,
        "WEST",
        quantity,
        in_transit,
        &moves,
    );
}

/// Makes a history with 10 units in EAST, of which 6 are on their way to WEST.
fn sent() -> World {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 10);
    world.end_entry();
    leave(&mut world, 6);
    be_sent(&mut world, 6);
    world.end_entry();
    world
}

fn found(world: &World) -> Vec<Check> {
    verify_world(world).counts.keys().copied().collect()
}

#[test]
fn a_transfer_that_arrives_in_parts_and_is_closed_is_sound() {
    let mut world = sent();
    arrive(&mut world, 4, 2);
    world.end_entry();
    let moves = [(Bucket::InTransit, -2)];
    transfer(&mut world, ChangeKind::TransferClosed, "WEST", 2, 0, &moves);
    world.end_entry();
    assert_eq!(found(&world), []);
}

#[test]
fn units_that_left_and_are_nowhere_are_found() {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 10);
    world.end_entry();
    leave(&mut world, 6);
    world.end_entry();
    assert_eq!(found(&world), [Check::WrongTransfer]);
}

#[test]
fn units_that_are_in_transit_and_never_left_are_found() {
    let mut world = World::new();
    be_sent(&mut world, 6);
    world.end_entry();
    assert_eq!(found(&world), [Check::WrongTransfer]);
}

#[test]
fn more_that_arrives_than_was_sent_is_found() {
    let mut world = sent();
    arrive(&mut world, 4, 2);
    world.end_entry();
    // These units of another transfer are written as if they belonged to this one.
    let change = world.stock(
        ChangeKind::TransferredOut,
        ("SHIRT", "WEST", ""),
        &[(Bucket::InTransit, 3)],
    );
    change.transfer = Some(v1::TransferEffect {
        transfer_id: vec![8; 16].into(),
        from_warehouse: "NORTH".into(),
        to_warehouse: "WEST".into(),
        expected_at_ms: 9,
        quantity: 3,
        in_transit: 3,
    });
    arrive(&mut world, 5, 0);
    world.end_entry();
    assert!(found(&world).contains(&Check::WrongTransfer));
}

#[test]
fn a_wrong_rest_of_a_transfer_is_found() {
    let mut world = sent();
    arrive(&mut world, 4, 3);
    world.end_entry();
    assert_eq!(found(&world), [Check::WrongTransfer]);
}

/// Makes web take 2 units where 1 exists, so one is backordered.
fn backordered(world: &mut World) {
    world.receive("SHIRT", "EAST", 1);
    world.end_entry();
    let id = world.next_operation();
    let moves = [(Bucket::Free, -1), (Bucket::Held, 2), (Bucket::Backordered, 1)];
    let change = world.write(ChangeKind::Reserved, ("SHIRT", "EAST", "web"), &moves, Some(id));
    change.reservation = Some(v1::ReservationEffect {
        reservation_id: id.to_vec().into(),
        state: v1::ReservationState::Held.into(),
        expires_at_ms: world::START_MS + 60_000,
        requested: 2,
        quantity: 2,
        sourcing: v1::SourcingReason::MostAvailable.into(),
        ..v1::ReservationEffect::default()
    });
    world.end_entry();
}

#[test]
fn a_backorder_is_not_oversold_and_a_receipt_fills_it() {
    let mut world = World::new();
    backordered(&mut world);
    let moves = [(Bucket::OnHand, 3), (Bucket::Free, 2), (Bucket::Backordered, -1)];
    let change = world.stock(ChangeKind::Received, ("SHIRT", "EAST", ""), &moves);
    change.supply = Some(v1::SupplyEffect {
        supply_id: "po-1".into(),
        quantity: 0,
        expected_at_ms: 9,
    });
    world.end_entry();
    assert_eq!(found(&world), []);
}

#[test]
fn free_stock_beside_a_backorder_is_found() {
    let mut world = World::new();
    backordered(&mut world);
    let moves = [(Bucket::OnHand, 3), (Bucket::Free, 3)];
    world.stock(ChangeKind::Received, ("SHIRT", "EAST", ""), &moves);
    world.end_entry();
    assert_eq!(found(&world), [Check::FreeInBackorder]);
}

#[test]
fn only_taking_units_raises_what_is_backordered() {
    let mut world = World::new();
    backordered(&mut world);
    let moves = [(Bucket::OnHand, -1), (Bucket::Backordered, 1)];
    world.stock(ChangeKind::Counted, ("SHIRT", "EAST", ""), &moves);
    world.end_entry();
    assert_eq!(found(&world), [Check::WrongMovement]);
}

#[test]
fn a_count_that_no_operation_made_is_malformed() {
    let mut world = World::new();
    backordered(&mut world);
    let moves = [(Bucket::OnHand, -1), (Bucket::Backordered, 1)];
    world.write(ChangeKind::Counted, ("SHIRT", "EAST", ""), &moves, None);
    world.end_entry();
    assert!(found(&world).contains(&Check::Malformed));
}

#[test]
fn a_transfer_or_a_supply_of_another_kind_is_malformed() {
    let mut world = World::new();
    let change = world.stock(ChangeKind::SupplyExpected, ("SHIRT", "EAST", ""), &[]);
    change.supply = None;
    world.end_entry();
    let id = world.next_operation();
    world.write(ChangeKind::TransferClosed, ("SHIRT", "EAST", ""), &[], Some(id));
    world.end_entry();
    assert_eq!(found(&world), [Check::Malformed]);
    assert_eq!(verify_world(&world).counts[&Check::Malformed], 2);
}
