//! Tests each way in which a history can be wrong; one test for each.

use super::*;
use world::operation_id;

/// Makes a shop with ten shirts. One reservation of 3 is committed and shipped, and another one of 2 is still
/// held.
fn sale() -> World {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 10);
    world.end_entry();
    world.reserve("web", &[("SHIRT", "EAST", 3)], 60_000);
    world.reserve("web", &[("SHIRT", "EAST", 2)], 60_000);
    world.end_entry();
    world.end_hold(0, ChangeKind::Committed);
    world.end_entry();
    world.move_units(0, ChangeKind::Shipped, 9);
    world.end_entry();
    assert!(verify_world(&world).ok);
    world
}

#[track_caller]
fn assert_found(report: &Report, check: Check) {
    assert!(
        report.counts.contains_key(&check),
        "{} is not in:\n{report}",
        check.name()
    );
    assert!(!report.ok);
}

/// Verifies without live stock, so that only the changes can reveal the damage.
#[track_caller]
fn assert_history_shows(history: &[Change], check: Check) {
    assert_found(&verify(history, last_seq(history), None), check);
}

#[test]
fn a_dropped_change_is_lost() {
    let world = sale();
    for at in 0..world.history.len() - 1 {
        let mut history = world.history.clone();
        history.remove(at);
        let report = verify(&history, last_seq(&history), None);
        assert_found(&report, Check::Lost);
        assert_eq!(report.lost_changes, 1);
    }
}

#[test]
fn a_whole_dropped_entry_is_lost() {
    let mut history = sale().history;
    history.retain(|change| change.log_index != 5);
    let report = verify(&history, last_seq(&history), None);
    assert_found(&report, Check::Lost);
    assert_eq!(report.lost_changes, 2);
}

#[test]
fn an_end_that_is_missing_is_lost() {
    let mut history = sale().history;
    history.pop();
    assert_found(&verify(&history, 5, None), Check::Lost);
}

#[test]
fn a_change_that_comes_twice_is_out_of_sequence_and_counted_once() {
    let world = sale();
    let mut history = world.history.clone();
    history.insert(2, history[1].clone());
    let report = verify(&history, last_seq(&history), Some(&world.live()));
    assert_eq!(
        report.counts.into_iter().collect::<Vec<_>>(),
        [(Check::OutOfSequence, 1)]
    );
}

#[test]
fn swapped_changes_are_out_of_sequence() {
    let mut history = sale().history;
    history.swap(3, 4);
    assert_history_shows(&history, Check::OutOfSequence);
}

#[test]
fn an_entry_in_part_is_split() {
    let mut history = sale().history;
    history[2].entry_changes = 3;
    assert_history_shows(&history, Check::SplitEntry);
    let mut history = sale().history;
    history[4].entry_changes = 2;
    assert_history_shows(&history, Check::SplitEntry);
}

#[test]
fn time_and_log_never_go_back() {
    let mut history = sale().history;
    history[3].log_time_ms -= 1;
    assert_history_shows(&history, Check::LogTimeWentBack);
    let mut history = sale().history;
    history[3].log_index = history[2].log_index;
    assert_history_shows(&history, Check::LogIndexWentBack);
}

#[test]
fn an_altered_after_image_is_found_in_each_move() {
    let world = sale();
    for at in 0..world.history.len() {
        for place in 0..world.history[at].moves.len() {
            let mut history = world.history.clone();
            history[at].moves[place].after += 1;
            assert_history_shows(&history, Check::WrongAfterImage);
        }
    }
}

#[test]
fn one_unit_too_many_is_oversold() {
    let mut world = sale();
    let left = world.units("SHIRT", "EAST", "free");
    world.reserve("web", &[("SHIRT", "EAST", left)], 60_000).unwrap();
    world.end_entry();
    assert!(verify_world(&world).ok);
    // This takes one unit more than exists; its arithmetic is right in itself.
    let id = world.next_operation();
    let moves = [(Bucket::Free, -1), (Bucket::Held, 1)];
    let change = world.write(ChangeKind::Reserved, ("SHIRT", "EAST", "web"), &moves, Some(id));
    change.reservation = Some(v1::ReservationEffect {
        reservation_id: id.to_vec().into(),
        line: 0,
        state: v1::ReservationState::Held.into(),
        expires_at_ms: world::START_MS + 60_000,
        requested: 1,
        quantity: 1,
        home: None,
        sourcing: 0,
    });
    world.end_entry();
    let report = verify_world(&world);
    assert_found(&report, Check::Oversold);
    assert_found(&report, Check::Negative);
    assert_eq!(report.oversold_units, 1);
}

#[test]
fn units_promised_out_of_nothing_are_oversold() {
    let mut world = sale();
    let left = world.units("SHIRT", "EAST", "free");
    world.reserve("web", &[("SHIRT", "EAST", left)], 60_000).unwrap();
    world.end_entry();
    let last = world.history.last_mut().unwrap();
    let held = last
        .moves
        .iter_mut()
        .find(|moved| moved.bucket == i32::from(Bucket::Held))
        .unwrap();
    (held.delta, held.after) = (held.delta + 1, held.after + 1);
    let report = verify(&world.history, last_seq(&world.history), None);
    for check in [
        Check::Oversold,
        Check::Unbalanced,
        Check::WrongMovement,
        Check::PromisesDiffer,
    ] {
        assert_found(&report, check);
    }
    assert_eq!(report.oversold_units, 1);
}

#[test]
fn a_second_shipment_of_the_same_units_is_found() {
    let mut world = sale();
    world.holds[0].parts[0].committed = 3;
    // The cell has committed units of another reservation, so its own arithmetic stays right.
    world.end_hold(1, ChangeKind::Committed);
    world.end_entry();
    world.move_units(0, ChangeKind::Shipped, 2);
    world.end_entry();
    assert_history_shows(&world.history, Check::NotOpen);
    assert_history_shows(&world.history, Check::PromisesDiffer);
}

#[test]
fn more_than_was_committed_is_never_shipped() {
    let mut world = sale();
    world.receive("SHIRT", "EAST", 10);
    world.reserve("web", &[("SHIRT", "EAST", 4)], 60_000);
    world.end_entry();
    world.end_hold(1, ChangeKind::Committed);
    world.end_hold(2, ChangeKind::Committed);
    world.end_entry();
    world.holds[2].parts[0].committed = 5;
    world.move_units(2, ChangeKind::Shipped, 5);
    world.end_entry();
    assert_history_shows(&world.history, Check::ExceedsLine);
}

#[test]
fn a_hold_is_ended_once() {
    for second in [ChangeKind::Committed, ChangeKind::Released] {
        let mut world = sale();
        world.end_hold(1, ChangeKind::Released);
        world.reserve("web", &[("SHIRT", "EAST", 2)], 60_000);
        world.end_entry();
        world.holds[1].parts[0].held = 2;
        world.end_hold(1, second);
        world.end_entry();
        assert_history_shows(&world.history, Check::NotOpen);
    }
}

#[test]
fn a_committed_reservation_is_not_released() {
    let mut world = sale();
    world.end_hold(1, ChangeKind::Committed);
    world.reserve("web", &[("SHIRT", "EAST", 2)], 60_000);
    world.end_entry();
    world.holds[1].parts[0].held = 2;
    world.end_hold(1, ChangeKind::Released);
    world.end_entry();
    assert_history_shows(&world.history, Check::WrongState);
}

#[test]
fn a_state_that_is_not_where_the_units_are_is_found() {
    let mut history = sale().history;
    history[4].reservation.as_mut().unwrap().state = v1::ReservationState::Committed.into();
    assert_history_shows(&history, Check::WrongState);
}

#[test]
fn an_operation_id_of_two_entries_was_doubled() {
    let mut world = sale();
    world.write(
        ChangeKind::Received,
        ("SHIRT", "EAST", ""),
        &[(Bucket::OnHand, 10), (Bucket::Free, 10)],
        Some(operation_id(1)),
    );
    world.end_entry();
    let report = verify_world(&world);
    assert_eq!(
        report.counts.iter().collect::<Vec<_>>(),
        [(&Check::OperationTwice, &1)],
        "{report}"
    );
    assert!(
        report.findings[0]
            .message
            .contains("at change 1 and again at change 6"),
        "{report}"
    );
}

#[test]
fn an_operation_that_takes_effect_twice_in_one_entry_was_doubled() {
    let mut world = sale();
    for _ in 0..2 {
        let moves = [(Bucket::OnHand, 1), (Bucket::Free, 1)];
        world.write(
            ChangeKind::Received,
            ("SHIRT", "EAST", ""),
            &moves,
            Some(operation_id(99)),
        );
    }
    world.end_entry();
    assert_eq!(
        verify_world(&world).counts.into_iter().collect::<Vec<_>>(),
        [(Check::OperationTwice, 1)]
    );
}

#[test]
fn a_reservation_is_granted_once() {
    let mut world = sale();
    let id = world.holds[1].id;
    let mut again = world.history[2].clone();
    world
        .write(
            ChangeKind::Reserved,
            ("SHIRT", "EAST", "web"),
            &[(Bucket::Free, -2), (Bucket::Held, 2)],
            Some(id),
        )
        .reservation = again.reservation.take();
    world.end_entry();
    let report = verify_world(&world);
    assert_found(&report, Check::ReservedTwice);
    assert_found(&report, Check::OperationTwice);
}

#[test]
fn a_line_is_granted_once_and_no_more_than_asked_for() {
    let mut world = World::new();
    world.receive("SHIRT", "EAST", 10);
    world.end_entry();
    world.reserve("web", &[("SHIRT", "EAST", 3), ("SHIRT", "EAST", 3)], 60_000);
    world.end_entry();
    let mut history = world.history.clone();
    history[2].reservation.as_mut().unwrap().line = 0;
    assert_history_shows(&history, Check::ReservedTwice);
    assert_history_shows(&history, Check::ExceedsLine);
}

#[test]
fn a_hold_never_expires_early_and_is_not_used_late() {
    let mut world = sale();
    world.log_time_ms += 59_999;
    world.end_hold(1, ChangeKind::Expired);
    world.end_entry();
    assert_history_shows(&world.history, Check::ExpiredEarly);

    let mut world = sale();
    world.log_time_ms += 60_000;
    world.end_hold(1, ChangeKind::Expired);
    world.end_entry();
    assert!(verify_world(&world).ok);

    let mut world = sale();
    world.log_time_ms += 60_000;
    world.end_hold(1, ChangeKind::Committed);
    world.end_entry();
    assert_history_shows(&world.history, Check::UsedAfterExpiry);
}

#[test]
fn an_extension_counts_for_expiry_and_never_shortens() {
    let mut world = sale();
    world.extend(1, 90_000);
    world.end_entry();
    world.log_time_ms += 60_000;
    world.end_hold(1, ChangeKind::Expired);
    world.end_entry();
    assert_history_shows(&world.history, Check::ExpiredEarly);
    world.history[5].reservation.as_mut().unwrap().expires_at_ms -= 30_001;
    assert_history_shows(&world.history, Check::WrongState);
}

#[test]
fn only_a_count_raises_a_deficit_and_nothing_is_sellable_beside_it() {
    let mut world = sale();
    world.count("SHIRT", "EAST", 1);
    world.end_entry();
    assert!(verify_world(&world).ok);
    assert_eq!(world.units("SHIRT", "EAST", "deficit"), 1);
    world.history[5].kind = ChangeKind::Adjusted.into();
    assert_history_shows(&world.history, Check::DeficitRaised);

    let mut world = sale();
    let moves = [(Bucket::OnHand, -1), (Bucket::Deficit, 1)];
    world.stock(ChangeKind::Counted, ("SHIRT", "EAST", ""), &moves);
    world.end_entry();
    assert_history_shows(&world.history, Check::SellableInDeficit);
}

#[test]
fn a_movement_that_its_kind_does_not_make_is_found() {
    let mut world = sale();
    let moves = [(Bucket::Free, -1), (Bucket::Committed, 1)];
    world.stock(ChangeKind::BucketMoved, ("SHIRT", "EAST", ""), &moves);
    world.end_entry();
    assert_history_shows(&world.history, Check::WrongMovement);
    assert_history_shows(&world.history, Check::PromisesDiffer);

    let mut history = sale().history;
    history[4].reservation.as_mut().unwrap().quantity = 2;
    assert_history_shows(&history, Check::WrongMovement);
}

#[test]
fn goods_that_appear_in_on_hand_alone_are_unbalanced() {
    let mut world = sale();
    world.stock(
        ChangeKind::Adjusted,
        ("SHIRT", "EAST", ""),
        &[(Bucket::OnHand, 1)],
    );
    world.end_entry();
    let report = verify_world(&world);
    assert_eq!(
        report.counts.into_iter().collect::<Vec<_>>(),
        [(Check::Unbalanced, 1)]
    );
}

#[test]
fn no_more_comes_back_than_was_shipped_however_late() {
    let mut world = sale();
    world.move_units(0, ChangeKind::Returned, 9);
    world.end_entry();
    assert!(verify_world(&world).ok);
    world.holds[0].parts[0].returned = 2;
    world.move_units(0, ChangeKind::Returned, 1);
    world.end_entry();
    assert_history_shows(&world.history, Check::ReturnedTooMuch);
}

#[test]
fn a_reservation_told_to_be_returned_has_nothing_out() {
    let mut world = sale();
    world.move_units(0, ChangeKind::Returned, 2);
    world.end_entry();
    assert!(verify_world(&world).ok);
    world.history[5].reservation.as_mut().unwrap().state = v1::ReservationState::Returned.into();
    assert_history_shows(&world.history, Check::WrongState);
}

#[test]
fn live_stock_that_differs_is_told_cell_by_cell() {
    let mut world = sale();
    world.stock(
        ChangeKind::PoolAllocated,
        ("SHIRT", "EAST", "web"),
        &[(Bucket::Free, -2), (Bucket::Pool, 2)],
    );
    world.receive("HAT", "EAST", 1);
    world.end_entry();
    let live = world.live();
    let end = last_seq(&world.history);
    let differs = |cells: &[v1::Cell]| {
        let report = verify(&world.history, end, Some(cells));
        assert_eq!(
            report.counts.iter().collect::<Vec<_>>(),
            [(&Check::LiveStockDiffers, &1)],
            "{report}"
        );
        report.findings[0].message.clone()
    };

    let mut off_by_one = live.clone();
    off_by_one[1].held += 1;
    assert_eq!(differs(&off_by_one), "SHIRT in EAST: live held 3 not 2");
    let mut other_pool = live.clone();
    other_pool[1].pools[0].storefront = "app".into();
    assert_eq!(
        differs(&other_pool),
        "SHIRT in EAST: live pools (app 2) not (web 2)"
    );
    assert_eq!(
        differs(&live[1..]),
        "HAT in EAST: the live stock has no such cell"
    );
    let extra = v1::Cell {
        sku: "MUG".into(),
        warehouse: "EAST".into(),
        free: 1,
        ..v1::Cell::default()
    };
    assert_eq!(
        differs(&[&live[..], &[extra]].concat()),
        "MUG in EAST: live free 1 not 0"
    );
    assert_eq!(
        differs(&[&live[..], &live[..1]].concat()),
        "HAT in EAST: the live stock lists the cell twice"
    );
}

#[test]
fn live_stock_of_another_moment_is_not_compared() {
    let world = sale();
    let mut verifier = Verifier::new();
    let mut shard = verifier.shard(SHARD);
    for change in &world.history {
        shard.observe(change).unwrap();
    }
    shard.compare_live(4, &world.live());
    shard.end().unwrap();
    assert_found(&verifier.finish().unwrap(), Check::LiveStockDiffers);
}

#[test]
fn a_change_that_cannot_be_understood_is_malformed() {
    let history = sale().history;
    let reserved = 1;
    let damages: [fn(&mut Change); 13] = [
        |change| change.kind = 99,
        |change| change.kind = 0,
        |change| change.sku.clear(),
        |change| change.warehouse.clear(),
        |change| change.reservation = None,
        |change| change.cause = None,
        |change| change.moves[0].bucket = 77,
        |change| change.moves[0].bucket = 0,
        |change| change.moves[0].delta = 0,
        |change| change.moves.push(change.moves[0]),
        |change| change.policy = Some(v1::PolicyEffect::default()),
        |change| change.reservation.as_mut().unwrap().reservation_id = vec![1; 15].into(),
        |change| change.shard += 1,
    ];
    for damage in damages {
        let mut history = history.clone();
        damage(&mut history[reserved]);
        assert_history_shows(&history, Check::Malformed);
    }
}

#[test]
fn of_one_check_the_first_findings_are_kept_and_all_are_counted() {
    let mut world = World::new();
    for _ in 0..80 {
        world.stock(
            ChangeKind::Adjusted,
            ("SHIRT", "EAST", ""),
            &[(Bucket::OnHand, 1)],
        );
        world.end_entry();
    }
    let report = verify_world(&world);
    assert_eq!(report.counts[&Check::Unbalanced], 80);
    assert_eq!(report.findings.len(), super::super::KEPT_OF_ONE_CHECK);
    assert!(
        report
            .to_string()
            .ends_with("and 30 more of the same checks\nNOT ok: 80 findings: unbalanced 80")
    );
}
