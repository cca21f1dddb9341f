//! Tests pairs of changes that are right only together: goods that a count has seen, and a hold that replaces
//! another one.

use super::*;

const PLACE: (&str, &str, &str) = ("SHIRT", "EAST", "");

/// Verifies a history in which 36 units arrive that an earlier count has seen. The recount beside them takes
/// `taken_back` away.
fn late_delivery(taken_back: i64) -> Report {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 20);
    world.end_entry();
    world.stock(
        ChangeKind::Counted,
        PLACE,
        &[(Bucket::OnHand, 36), (Bucket::Free, 36)],
    );
    world.end_entry();
    let operation = world.next_operation();
    let moves = [(Bucket::OnHand, 36), (Bucket::Free, 36)];
    world.write(ChangeKind::Received, PLACE, &moves, Some(operation));
    let moves = [(Bucket::OnHand, -taken_back), (Bucket::Free, -taken_back)];
    world.write(ChangeKind::Counted, PLACE, &moves, Some(operation));
    world.end_entry();
    verify_world(&world)
}

#[test]
fn goods_that_a_count_has_seen_leave_what_is_on_hand_as_it_is() {
    let report = late_delivery(36);
    assert!(report.ok, "{report}");
    for wrong in [35, 37] {
        let report = late_delivery(wrong);
        let checks: Vec<Check> = report.findings.iter().map(|finding| finding.check).collect();
        assert_eq!(checks, [Check::WrongFlow], "{report}");
    }
}

#[test]
fn every_shipped_line_may_have_a_recount_beside_it() {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 20);
    world.end_entry();
    let lines = [("SHIRT", "EAST", 2), ("SHIRT", "EAST", 3)];
    let at = world.reserve("web", &lines, 60_000).unwrap();
    world.end_entry();
    world.end_hold(at, ChangeKind::Committed);
    world.end_entry();
    let ship = |world: &mut World, line: u32, units: i64, operation: [u8; 16]| {
        let found = [(Bucket::OnHand, units), (Bucket::Free, units)];
        world.write(ChangeKind::Counted, PLACE, &found, Some(operation));
        let left = [(Bucket::OnHand, -units), (Bucket::Committed, -units)];
        let id = world.holds[at].id;
        let state = v1::ReservationState::Shipped;
        let change = world.write(
            ChangeKind::Shipped,
            ("SHIRT", "EAST", "web"),
            &left,
            Some(operation),
        );
        change.reservation = Some(v1::ReservationEffect {
            reservation_id: id.to_vec().into(),
            line,
            state: state.into(),
            expires_at_ms: world_expiry(),
            requested: units,
            quantity: units,
            ..v1::ReservationEffect::default()
        });
    };
    let operation = world.next_operation();
    ship(&mut world, 0, 2, operation);
    ship(&mut world, 1, 3, operation);
    world.end_entry();
    let report = verify(&world.history, last_seq(&world.history), None);
    assert!(report.ok, "{report}");
}

fn world_expiry() -> u64 {
    super::world::START_MS + 60_000
}

/// Verifies a history in which a hold of two SKUs is replaced by another hold that keeps the first SKU.
fn replaced(by_its_own_operation: bool) -> Report {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 1);
    world.end_entry();
    world.receive("SOCKS", "EAST", 5);
    world.end_entry();
    let old = [("SHIRT", "EAST", 1), ("SOCKS", "EAST", 2)];
    let at = world.reserve("web", &old, 60_000).unwrap();
    world.end_entry();
    let new = world.next_operation();
    let released_by = if by_its_own_operation {
        new
    } else {
        world.next_operation()
    };
    world.end_hold_by(at, ChangeKind::Released, Some(released_by));
    let held = (v1::ReservationState::Held, super::world::START_MS + 90_000);
    let wanted = [("SHIRT", "EAST", 1), ("SOCKS", "EAST", 4)];
    world
        .take(ChangeKind::Reserved, new, "web", &wanted, held)
        .unwrap();
    world.end_entry();
    verify_world(&world)
}

#[test]
fn a_hold_that_takes_another_ones_place_is_clean() {
    let report = replaced(true);
    assert!(report.ok, "{report}");
    assert_eq!(report.reservations, 2);
}

#[test]
fn a_part_takes_units_over_only_behind_the_release_of_the_hold_that_it_replaces() {
    for (is_released_before, is_right) in [(true, true), (false, false)] {
        let mut world = World::of_shard(SHARD);
        world.receive("SHIRT", "EAST", 5);
        world.end_entry();
        let at = world.reserve("web", &[("SHIRT", "EAST", 1)], 60_000).unwrap();
        world.end_entry();
        let new = world.next_operation();
        let undecided = (v1::ReservationState::Prepared, 0);
        let more = world.take(
            ChangeKind::Prepared,
            new,
            "web",
            &[("SHIRT", "EAST", 2)],
            undecided,
        );
        world.end_entry();
        if is_released_before {
            world.end_hold_by(at, ChangeKind::Released, Some(new));
        }
        world.take(
            ChangeKind::Prepared,
            new,
            "web",
            &[("SHIRT", "EAST", 1)],
            undecided,
        );
        world.end_entry();
        let mut history = world.history.clone();
        let of_new = |change: &&mut Change| {
            let effect = change.reservation.as_ref();
            effect.is_some_and(|effect| effect.reservation_id == new.to_vec())
        };
        for change in history.iter_mut().filter(of_new) {
            if let Some(effect) = &mut change.reservation {
                effect.home = Some(SHARD + 1);
                effect.requested = 3;
            }
        }
        assert!(more.is_some());
        let mut verifier = Verifier::new();
        verifier.allow_in_flight(u64::MAX);
        let mut shard = verifier.shard(SHARD);
        for change in &history {
            shard.observe(change).unwrap();
        }
        shard.end().unwrap();
        let report = verifier.finish().unwrap();
        let twice = report
            .findings
            .iter()
            .any(|finding| finding.check == Check::ReservedTwice);
        assert_eq!((report.ok, twice), (is_right, !is_right), "{report}");
    }
}

#[test]
fn a_part_that_would_only_have_kept_units_is_aborted_without_any() {
    for (home, is_right) in [(Some(SHARD + 1), true), (None, false)] {
        let mut world = World::new();
        world.receive("SHIRT", "EAST", 5);
        world.end_entry();
        let order = world.next_operation();
        world
            .write(ChangeKind::Aborted, ("", "", "web"), &[], Some(order))
            .reservation = Some(v1::ReservationEffect {
            reservation_id: order.to_vec().into(),
            state: v1::ReservationState::Released.into(),
            home,
            ..v1::ReservationEffect::default()
        });
        world.end_entry();
        let report = verify_world(&world);
        assert_eq!(report.ok, is_right, "{report}");
    }
}

#[test]
fn late_goods_may_have_filled_what_is_backordered_and_the_recount_takes_that_back() {
    let mut world = World::new();
    let operation = world.next_operation();
    let (arrives, taken_back) = (
        [(Bucket::OnHand, 5), (Bucket::Backordered, -2), (Bucket::Free, 3)],
        [(Bucket::OnHand, -5), (Bucket::Backordered, 2), (Bucket::Free, -3)],
    );
    let held = (v1::ReservationState::Held, super::world::START_MS + 60_000);
    let order = world.next_operation();
    world.receive("SHIRT", "EAST", 1);
    world.end_entry();
    let at = world
        .take(ChangeKind::Reserved, order, "web", &[("SHIRT", "EAST", 1)], held)
        .unwrap();
    world.end_entry();
    let before = world.history.len();
    assert_eq!((at, before), (0, 2));
    // Two more units of the line are backordered.
    let waits = world.next_operation();
    let moves = [(Bucket::Held, 2), (Bucket::Backordered, 2)];
    world
        .write(
            ChangeKind::Reserved,
            ("SHIRT", "EAST", "web"),
            &moves,
            Some(waits),
        )
        .reservation = Some(v1::ReservationEffect {
        reservation_id: waits.to_vec().into(),
        state: held.0.into(),
        expires_at_ms: held.1,
        requested: 2,
        quantity: 2,
        ..v1::ReservationEffect::default()
    });
    world.end_entry();
    world.write(ChangeKind::Received, PLACE, &arrives, Some(operation));
    world.write(ChangeKind::Counted, PLACE, &taken_back, Some(operation));
    world.end_entry();
    let report = verify(&world.history, last_seq(&world.history), None);
    assert!(report.ok, "{report}");
}
