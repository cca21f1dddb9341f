use holdfast_api::v1::{
    self, Bucket, BucketMove, Cause, Change, ChangeKind, ReservationEffect, ReservationState,
};

use crate::{AsOfError, At, Fault, Reading, Reservation, Stock, Subject};

const ID: [u8; 16] = [7; 16];

/// Makes a change with an entry of its own, at log time 1000 + 10 * seq.
fn change(seq: u64, kind: i32, moves: &[(Bucket, i64, i64)]) -> Change {
    let moved = |(bucket, delta, after): &(Bucket, i64, i64)| BucketMove {
        bucket: (*bucket).into(),
        delta: *delta,
        after: *after,
    };
    Change {
        shard: 1,
        seq,
        entry_changes: 1,
        log_index: 100 + seq,
        log_time_ms: 1_000 + 10 * seq,
        kind,
        sku: "tea".into(),
        warehouse: "north".into(),
        storefront: "web".into(),
        moves: moves.iter().map(moved).collect(),
        cause: Some(Cause {
            reference: format!("order-{seq}"),
            ..Cause::default()
        }),
        ..Change::default()
    }
}

fn received(seq: u64, quantity: i64, after: i64) -> Change {
    let moves = [(Bucket::OnHand, quantity, after), (Bucket::Free, quantity, after)];
    change(seq, ChangeKind::Received.into(), &moves)
}

fn of(mut change: Change, line: u32, state: ReservationState, quantity: i64) -> Change {
    change.reservation = Some(ReservationEffect {
        reservation_id: ID.to_vec().into(),
        line,
        state: state.into(),
        expires_at_ms: 9_000,
        requested: 4,
        quantity,
        ..ReservationEffect::default()
    });
    change
}

fn read<S: Subject>(
    at: At,
    subject: S,
    changes: &[Change],
) -> Result<Result<(v1::AsOf, S), AsOfError>, Fault> {
    let mut reading = Reading::new(1, at, subject);
    for change in changes {
        reading.observe(change)?;
    }
    Ok(reading.finish())
}

fn tea() -> Stock {
    Stock::new("tea", "")
}

fn free(at: At, changes: &[Change]) -> i64 {
    read(at, tea(), changes).unwrap().unwrap().1.cells()[0].free
}

fn fault_of<S: Subject>(subject: S, changes: &[Change]) -> String {
    read(At::Seq(99), subject, changes)
        .map(|_| ())
        .unwrap_err()
        .to_string()
}

fn line(changes: &[Change]) -> (v1::Reservation, v1::ReservationLine) {
    let at = At::Seq(changes.last().unwrap().seq);
    let (_, subject) = read(at, Reservation::new(ID), changes).unwrap().unwrap();
    let told = subject.reservation().unwrap().clone();
    let line = told.lines[0].clone();
    (told, line)
}

#[test]
fn a_time_names_the_last_change_at_or_before_it() {
    let history = [received(1, 5, 5), received(2, 5, 10), received(3, 5, 15)];
    for (at_ms, units) in [(1_010, 5), (1_019, 5), (1_020, 10), (1_030, 15), (u64::MAX, 15)] {
        assert_eq!(free(At::LogTimeMs(at_ms), &history), units, "{at_ms}");
    }
    let (as_of, _) = read(At::LogTimeMs(1_029), tea(), &history).unwrap().unwrap();
    let position = v1::ChangePosition { shard: 1, seq: 2 };
    assert_eq!(
        (as_of.position, as_of.log_index, as_of.log_time_ms),
        (Some(position), 102, 1_020)
    );
}

#[test]
fn moments_before_the_first_and_after_the_last_change_are_refused() {
    let history = [received(1, 5, 5)];
    let before = read(At::LogTimeMs(1_009), tea(), &history).unwrap().map(|_| ());
    let first_log_time_ms = 1_010;
    assert_eq!(
        before,
        Err(AsOfError::BeforeFirst {
            shard: 1,
            first_log_time_ms
        })
    );
    let nothing = read(At::LogTimeMs(5_000), tea(), &[]).unwrap().map(|_| ());
    assert_eq!(nothing, Err(AsOfError::NoChange { shard: 1 }));
    let future = read(At::Seq(2), tea(), &history).unwrap().map(|_| ());
    assert_eq!(
        future,
        Err(AsOfError::InFuture {
            shard: 1,
            seq: 2,
            last_seq: 1
        })
    );
}

#[test]
fn what_came_before_is_not_added_twice_and_what_is_missing_is_a_fault() {
    let (one, two, four) = (received(1, 5, 5), received(2, 5, 10), received(4, 5, 20));
    let twice = [one.clone(), one.clone(), two.clone(), one.clone()];
    assert_eq!(free(At::Seq(2), &twice), 10);
    assert!(fault_of(tea(), &[one.clone(), two, four]).contains("change 3 is missing"));
    assert!(fault_of(tea(), &[received(2, 5, 5)]).contains("change 1 is missing"));
    let mut elsewhere = received(2, 5, 10);
    elsewhere.shard = 2;
    assert!(fault_of(tea(), &[one.clone(), elsewhere]).contains("of shard 2"));
    let mut earlier = received(2, 5, 10);
    earlier.log_time_ms = 1_009;
    assert!(fault_of(tea(), &[one, earlier]).contains("log time is 1009, after 1010"));
}

#[test]
fn nothing_behind_the_moment_is_looked_at() {
    let history = [received(1, 5, 5), received(2, 1, 99), received(7, 1, 1)];
    assert_eq!(free(At::Seq(1), &history), 5);
    assert_eq!(free(At::LogTimeMs(1_010), &history), 5);
}

#[test]
fn an_after_image_that_does_not_add_up_is_a_fault() {
    for (wrong, says) in [
        (
            received(2, 5, 11),
            "on_hand of tea in north: the change says that 5 +5 is 11",
        ),
        (received(2, -6, -1), "below zero"),
        (received(2, i64::MIN, i64::MAX), "the change says that"),
    ] {
        let fault = fault_of(tea(), &[received(1, 5, 5), wrong]);
        assert!(
            fault.contains(says) && fault.contains("change 2 of shard 1"),
            "{fault}"
        );
    }
    // An empty cell begins at 0 units.
    assert!(fault_of(tea(), &[received(1, 5, 6)]).contains("the change says that 0 +5 is 6"));
    let mut unknown = received(1, 5, 5);
    unknown.moves[0].bucket = 999;
    assert!(fault_of(tea(), &[unknown]).contains("bucket 999"));
}

#[test]
fn a_position_inside_an_entry_says_so() {
    let mut first = received(1, 5, 5);
    first.entry_changes = 2;
    let mut second = received(2, 5, 10);
    (second.entry_changes, second.entry_offset, second.log_time_ms) = (2, 1, first.log_time_ms);
    let history = [first, second];
    let complete = |seq| {
        read(At::Seq(seq), tea(), &history)
            .unwrap()
            .unwrap()
            .0
            .entry_complete
    };
    assert_eq!([complete(1), complete(2)], [false, true]);
}

#[test]
fn only_what_was_asked_for_is_told_and_when_it_last_changed() {
    let mut east = received(2, 3, 3);
    east.warehouse = "east".into();
    let mut cup = received(3, 9, 9);
    cup.sku = "cup".into();
    let history = [received(1, 5, 5), east, cup];
    let told = |warehouse| {
        let (as_of, stock) = read(At::Seq(3), Stock::new("tea", warehouse), &history)
            .unwrap()
            .unwrap();
        let cells = stock.cells();
        (
            as_of.last_change_seq,
            cells
                .iter()
                .map(|cell| (cell.warehouse.clone(), cell.free))
                .collect::<Vec<_>>(),
        )
    };
    assert_eq!(told(""), (2, vec![("east".into(), 3), ("north".into(), 5)]));
    assert_eq!(told("north"), (1, vec![("north".into(), 5)]));
    assert_eq!(told("west"), (0, vec![]));
}

#[test]
fn a_kind_of_later_versions_is_added_up_by_what_it_moves() {
    let later = change(2, 4_711, &[(Bucket::Free, -2, 3), (Bucket::Safety, 2, 2)]);
    let (_, stock) = read(At::Seq(2), tea(), &[received(1, 5, 5), later])
        .unwrap()
        .unwrap();
    assert_eq!((stock.cells()[0].free, stock.cells()[0].safety), (3, 2));
}

/// Makes the changes of one life: prepared, confirmed, paid, shipped in part, cancelled in part, returned in
/// part.
fn life() -> Vec<Change> {
    use Bucket::{Committed, Free, Held, OnHand, Pool};
    use ReservationState as State;
    let pooled = change(
        2,
        ChangeKind::PoolAllocated.into(),
        &[(Free, -1, 9), (Pool, 1, 1)],
    );
    let prepared = change(3, 4_711, &[(Free, -3, 6), (Pool, -1, 0), (Held, 4, 4)]);
    let confirmed = change(4, 4_712, &[]);
    let committed = change(
        5,
        ChangeKind::Committed.into(),
        &[(Held, -4, 0), (Committed, 4, 4)],
    );
    let shipped = change(
        6,
        ChangeKind::Shipped.into(),
        &[(OnHand, -2, 8), (Committed, -2, 2)],
    );
    let cancelled = change(
        7,
        ChangeKind::Cancelled.into(),
        &[(Free, 1, 7), (Committed, -1, 1)],
    );
    let returned = change(8, ChangeKind::Returned.into(), &[(OnHand, 1, 9), (Free, 1, 8)]);
    vec![
        received(1, 10, 10),
        pooled,
        of(prepared, 0, State::Prepared, 4),
        of(confirmed, 0, State::Held, 0),
        of(committed, 0, State::Committed, 4),
        of(shipped, 0, State::Committed, 2),
        of(cancelled, 0, State::Committed, 1),
        of(returned, 0, State::Committed, 1),
    ]
}

#[test]
fn each_unit_of_a_reservation_is_in_one_place_all_its_life() {
    let life = life();
    let units = |line: &v1::ReservationLine| {
        [
            line.held,
            line.committed,
            line.shipped,
            line.cancelled,
            line.returned,
        ]
    };
    for (through, state, expected) in [
        (3, ReservationState::Prepared, [4, 0, 0, 0, 0]),
        (4, ReservationState::Held, [4, 0, 0, 0, 0]),
        (5, ReservationState::Committed, [0, 4, 0, 0, 0]),
        (6, ReservationState::Committed, [0, 2, 2, 0, 0]),
        (7, ReservationState::Committed, [0, 1, 2, 1, 0]),
        (8, ReservationState::Committed, [0, 1, 2, 1, 1]),
    ] {
        let (told, line) = line(&life[..through]);
        assert_eq!((told.state(), units(&line)), (state, expected), "{through}");
        assert_eq!((line.requested, line.granted, line.released), (4, 4, 0));
        assert_eq!(
            (told.created_at_ms, told.reference.as_str(), told.shard),
            (1_030, "order-3", 1)
        );
        let taken = v1::Allocation {
            warehouse: "north".into(),
            from_pool: 1,
            from_free: 3,
            ..v1::Allocation::default()
        };
        assert_eq!(line.allocations, [taken]);
    }
    let (as_of, subject) = read(At::Seq(2), Reservation::new(ID), &life).unwrap().unwrap();
    assert!(subject.reservation().is_none() && as_of.last_change_seq == 0);
}

#[test]
fn units_that_go_back_before_they_are_paid_are_released() {
    for state in [ReservationState::Released, ReservationState::Expired] {
        let back = change(4, 4_713, &[(Bucket::Free, 4, 10), (Bucket::Held, -4, 0)]);
        let mut history = life()[..3].to_vec();
        history.push(of(back, 0, state, 4));
        let (told, line) = line(&history);
        assert_eq!((told.state(), line.held, line.released), (state, 0, 4));
    }
}

#[test]
fn an_attempt_that_came_to_nothing_is_released_and_the_next_one_begins_anew() {
    use Bucket::{Free, Held, Pool};
    let aborted = change(4, 17, &[(Free, 3, 9), (Pool, 1, 1), (Held, -4, 0)]);
    let prepared = change(5, 15, &[(Free, -4, 5), (Held, 4, 4)]);
    let mut history = life()[..3].to_vec();
    history.push(of(aborted, 0, ReservationState::Released, 4));
    let (told, nothing) = line(&history);
    assert_eq!(
        (told.state(), nothing.held, nothing.released),
        (ReservationState::Released, 0, 4)
    );
    history.push(of(prepared, 0, ReservationState::Prepared, 4));
    let (told, anew) = line(&history);
    assert_eq!(
        (told.state(), told.created_at_ms),
        (ReservationState::Prepared, 1_050)
    );
    assert_eq!(
        (told.lines.len(), anew.granted, anew.held, anew.released),
        (1, 4, 4, 0)
    );
}

#[test]
fn a_part_of_an_order_names_the_shard_that_decides() {
    let mut history = life();
    let home = |history: &[Change]| {
        let (_, subject) = read(At::Seq(8), Reservation::new(ID), history).unwrap().unwrap();
        subject.home()
    };
    assert_eq!(home(&history), None);
    for change in &mut history {
        if let Some(effect) = &mut change.reservation {
            effect.home = Some(6);
        }
    }
    assert_eq!(home(&history), Some(6));
}

#[test]
fn a_reservation_that_moves_what_it_does_not_have_is_a_fault() {
    use Bucket::{Committed, Free, Held, OnHand};
    let committed = ReservationState::Committed;
    let shipped = |quantity: i64| change(4, 6, &[(OnHand, -quantity, 1), (Committed, -quantity, 0)]);
    let more = change(4, 1, &[(Free, -1, 5), (Held, 1, 5)]);
    let returned = change(4, 8, &[(OnHand, 1, 11), (Free, 1, 7)]);
    for (wrong, says) in [
        (of(shipped(2), 0, committed, 2), "does not have 2 units"),
        (
            of(shipped(2), 0, committed, 3),
            "the change names 3 units, and 2 moved",
        ),
        (of(more, 0, ReservationState::Held, 1), "asked for 4 and got 5"),
        (of(returned, 0, committed, 1), "does not have 1 units"),
        (
            of(change(4, 2, &[]), 0, ReservationState::Unspecified, 0),
            "does not know state 0",
        ),
    ] {
        let mut history = life()[..3].to_vec();
        history.push(wrong);
        let fault = fault_of(Reservation::new(ID), &history);
        assert!(fault.contains(says), "{fault}");
    }
}

#[test]
fn what_others_do_in_a_cell_of_the_reservation_has_to_add_up_too() {
    let mut history = life()[..3].to_vec();
    history.push(change(4, 10, &[(Bucket::Free, -1, 4)]));
    let fault = fault_of(Reservation::new(ID), &history);
    assert!(
        fault.contains("free of tea in north: the change says that 6 -1 is 4"),
        "{fault}"
    );
}
