//! Tests of the effects of time: ends of holds, forgetting, and ids from other times.

use super::*;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn an_id_from_before_the_window_or_too_far_ahead_is_refused() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let mut command = story.command(Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity: 1,
        supply_id: None,
    });
    let window_start_ms = START_MS - 24 * HOUR_MS;
    let id_time_ms = window_start_ms - 1;
    command.operation_id = id_at(id_time_ms, 1);
    assert_eq!(
        story.send(&command),
        Err(Refusal::OperationIdTooOld {
            id_time_ms,
            window_start_ms
        })
    );
    let latest_ms = START_MS + HOUR_MS;
    let id_time_ms = latest_ms + 1;
    command.operation_id = id_at(id_time_ms, 1);
    assert_eq!(
        story.send(&command),
        Err(Refusal::OperationIdFromFuture {
            id_time_ms,
            latest_ms
        })
    );
    for time_ms in [window_start_ms, latest_ms] {
        command.operation_id = id_at(time_ms, 1);
        story.send(&command).unwrap();
    }
    assert_eq!(story.cell("tea", "east").on_hand, 7);
}

#[test]
fn a_forgotten_id_cannot_take_effect_again() {
    let mut story = Story::new();
    let receive = story.command(Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity: 1,
        supply_id: None,
    });
    story.send(&receive).unwrap();
    story.wait(24 * HOUR_MS);
    assert!(matches!(
        story.send(&receive),
        Ok(Success::Stocked { replayed: true, .. })
    ));
    assert_eq!(story.ledger.operations.len(), 1);
    story.wait(1);
    assert_eq!(story.ledger.operations.len(), 0);
    assert!(matches!(
        story.send(&receive),
        Err(Refusal::OperationIdTooOld { .. })
    ));
    assert_eq!(story.cell("tea", "east").on_hand, 1);
}

#[test]
fn a_closed_reservation_is_kept_for_its_retention_and_its_reserve_is_answered_all_the_window() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    // The id is ahead of log time, so its window ends later than the retention.
    let mut reserve = story.reserve_command(vec![line("tea", 1, Source::Any)], ReserveMode::AllOrNothing);
    reserve.operation_id = id_at(story.now_ms() + HOUR_MS, 1);
    let id = reserve.operation_id;
    story.send(&reserve).unwrap();
    story.act(Action::Release { reservation_id: id }).unwrap();
    story.wait(25 * HOUR_MS);
    assert!(matches!(
        story.send(&reserve),
        Ok(Success::Reserved { replayed: true, .. })
    ));
    story.wait(1);
    assert_eq!(story.state(id), None);
    assert!(matches!(story.commit(id), Err(Refusal::UnknownReservation)));
}

#[test]
fn a_shipped_reservation_is_kept_long_for_returns() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let id = story.hold("tea", 2);
    story.commit(id).unwrap();
    story
        .act(Action::Ship {
            reservation_id: id,
            lines: vec![],
        })
        .unwrap();
    story.wait(89 * 24 * HOUR_MS);
    let of = ReturnOf::Reservation {
        reservation_id: id,
        lines: vec![],
    };
    story
        .act(Action::Return {
            of,
            disposition: Disposition::Restock,
        })
        .unwrap();
    assert_eq!(story.state(id), Some(ReservationState::Returned));
    story.wait(90 * 24 * HOUR_MS + 1);
    assert_eq!(story.state(id), None);
}

#[test]
fn an_entry_never_goes_back_in_time() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    let entry = Entry {
        log_time_ms: 5,
        commands: vec![],
    };
    let applied = story.ledger.apply(1000, &entry).unwrap();
    assert!(applied.changes.is_empty());
    assert_eq!(story.ledger.log_time_ms(), START_MS);
    let forever = Entry {
        log_time_ms: u64::MAX,
        commands: vec![],
    };
    story.ledger.apply(1001, &forever).unwrap();
    story.ledger.check().unwrap();
}

#[test]
fn an_entry_is_applied_once() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    let entry = Entry {
        log_time_ms: START_MS,
        commands: vec![],
    };
    assert!(story.ledger.apply(1, &entry).is_err());
    assert!(story.ledger.apply(2, &entry).is_ok());
}

#[test]
fn a_flood_of_ended_holds_is_worked_off_over_several_entries() {
    let mut story = Story::new();
    story.receive("tea", "east", 5000).unwrap();
    let holds: Vec<Command> = (0..5000)
        .map(|_| story.reserve_command(vec![line("tea", 1, Source::Any)], ReserveMode::AllOrNothing))
        .collect();
    let last = holds[4999].operation_id;
    assert!(story.entry(holds).iter().all(Result::is_ok));
    story.wait(60_000);
    assert_eq!(story.cell("tea", "east").held, 5000 - 1024);
    assert_eq!(story.state(last), Some(ReservationState::Held));
    assert!(
        matches!(story.commit(last), Err(Refusal::Expired { .. })),
        "not swept, and ended all the same"
    );
    let mut entries = 2;
    while story
        .ledger
        .next_due_ms()
        .is_some_and(|due| due <= story.now_ms())
    {
        story.wait(0);
        entries += 1;
    }
    assert_eq!((entries, story.cell("tea", "east").free), (5, 5000));
}

#[test]
fn a_preview_knows_that_time_would_give_units_back() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    story.hold("tea", 1);
    let reserve = story.reserve_command(vec![line("tea", 1, Source::Any)], ReserveMode::AllOrNothing);
    let now_ms = story.now_ms();
    assert!(matches!(
        story.ledger.preview(now_ms, &reserve),
        Some(Err(Refusal::InsufficientStock(_)))
    ));
    assert_eq!(story.ledger.preview(now_ms + 60_000, &reserve), None);
    story.later(60_000).send(&reserve).unwrap();
    assert!(matches!(
        story.ledger.preview(0, &reserve),
        Some(Ok(Success::Reserved { replayed: true, .. }))
    ));
}
