//! Tests of a hold that replaces another one, in one shard.

use super::*;

impl Story {
    pub(super) fn replace_command(&mut self, of: ReservationId, lines: Vec<ReserveLine>) -> Command {
        let command = self.reserve_command(lines, ReserveMode::AllOrNothing);
        Command {
            details: Details {
                replaces: Some(of),
                ..Details::default()
            },
            ..command
        }
    }

    fn replace(&mut self, of: ReservationId, lines: Vec<ReserveLine>) -> (ReservationId, Outcome) {
        let command = self.replace_command(of, lines);
        (command.operation_id, self.send(&command))
    }

    fn hold_lines(&mut self, lines: Vec<ReserveLine>) -> ReservationId {
        let command = self.reserve_command(lines, ReserveMode::AllOrNothing);
        self.send(&command).unwrap();
        command.operation_id
    }
}

fn any(name: &str, quantity: i64) -> ReserveLine {
    line(name, quantity, Source::Any)
}

fn stocked() -> Story {
    let mut story = Story::by(Rules::Second);
    for (name, units) in [("last", 1), ("tea", 5), ("milk", 5)] {
        story.receive(name, "east", units).unwrap();
    }
    story
}

#[test]
fn a_cart_with_the_last_unit_changes_its_other_line() {
    let mut story = stocked();
    let old = story.hold_lines(vec![any("last", 1), any("tea", 2)]);
    let (new, outcome) = story.replace(old, vec![any("milk", 3), any("last", 1)]);
    let Ok(Success::Reserved { lines, .. }) = &outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(lines.iter().map(|line| line.granted).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(story.state(old), Some(ReservationState::Released));
    assert_eq!(story.state(new), Some(ReservationState::Held));
    assert_eq!(story.cell("last", "east").held, 1);
    assert_eq!(
        (story.cell("tea", "east").free, story.cell("milk", "east").free),
        (5, 2)
    );
    story.commit(new).unwrap();
    assert_eq!(story.cell("last", "east").committed, 1);
    assert_eq!(story.cell("milk", "east").committed, 3);
}

#[test]
fn the_changes_of_a_replacement_are_a_release_and_a_reserve_of_one_entry() {
    let mut story = stocked();
    let old = story.hold_lines(vec![any("last", 1), any("tea", 2)]);
    let before = story.changes.len();
    let (new, outcome) = story.replace(old, vec![any("last", 1), any("tea", 3)]);
    outcome.unwrap();
    let told: Vec<_> = story.changes[before..]
        .iter()
        .map(|change| {
            let effect = change.reservation.as_ref().unwrap();
            let id = change.cause.operation_id;
            (change.kind, effect.reservation_id, effect.quantity, id)
        })
        .collect();
    let by = Some(new);
    assert_eq!(
        told,
        [
            (ChangeKind::Released, old, 1, by),
            (ChangeKind::Released, old, 2, by),
            (ChangeKind::Reserved, new, 1, by),
            (ChangeKind::Reserved, new, 3, by),
        ]
    );
    assert!(
        story.changes[before..]
            .iter()
            .all(|change| change.entry_changes == 4)
    );
}

#[test]
fn a_replacement_that_cannot_be_held_leaves_the_old_hold_as_it_was() {
    let mut story = stocked();
    let old = story.hold_lines(vec![any("last", 1), any("tea", 2)]);
    let before = (story.ledger.last_seq(), story.view(old));
    let (new, outcome) = story.replace(old, vec![any("last", 2)]);
    let shortage = Shortage {
        line: 0,
        sku: sku("last"),
        requested: 2,
        available: 1,
    };
    assert_eq!(outcome, Err(Refusal::InsufficientStock(vec![shortage])));
    assert_eq!((story.ledger.last_seq(), story.view(old)), before);
    assert_eq!(story.state(new), None);
}

#[test]
fn a_retry_is_answered_alike_and_a_second_replacement_of_one_hold_is_refused() {
    let mut story = stocked();
    let old = story.hold("last", 1);
    let first = story.replace_command(old, vec![any("last", 1), any("tea", 1)]);
    let Ok(Success::Reserved { lines, .. }) = story.send(&first) else {
        panic!();
    };
    let again = story.send(&first);
    assert!(
        matches!(&again, Ok(Success::Reserved { replayed: true, lines: told, .. }) if *told == lines),
        "{again:?}"
    );
    let (_, second) = story.replace(old, vec![any("last", 1)]);
    let state = ReservationState::Released;
    assert_eq!(second, Err(Refusal::WrongState { state }));
    assert_eq!(story.cell("last", "east").held, 1);
}

#[test]
fn units_are_kept_where_they_are_missing_waited_for_or_ring_fenced() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 4).unwrap();
    story.pool("tea", "east", "web", 2).unwrap();
    story
        .act(Action::SetPolicy {
            sku: sku("tea"),
            storefront: storefront("web"),
            may_borrow: true,
            max_per_reservation: 0,
            backorder_limit: 3,
            preorder_limit: 0,
            preorder_until_ms: 0,
        })
        .unwrap();
    // The hold has 2 of the pool, 2 free and 3 backordered.
    let old = story.hold("tea", 7);
    let before = story.cell("tea", "east");
    let (second, outcome) = story.replace(old, vec![any("tea", 7)]);
    outcome.unwrap();
    assert_eq!(story.cell("tea", "east"), before);
    // It has one unit less, because the units taken last go back first.
    let (third, outcome) = story.replace(second, vec![any("tea", 6)]);
    outcome.unwrap();
    assert_eq!(story.cell("tea", "east").backordered, 2);
    story.count("tea", "east", 1, None).unwrap();
    let missing = story.cell("tea", "east");
    assert_eq!((missing.deficit, missing.held), (3, 6));
    let (fourth, outcome) = story.replace(third, vec![any("tea", 6)]);
    outcome.unwrap();
    assert_eq!(story.cell("tea", "east"), missing);
    story
        .act(Action::Release {
            reservation_id: fourth,
        })
        .unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.held, cell.deficit, cell.backordered),
        (1, 0, 0, 0)
    );
}

#[test]
fn a_line_keeps_only_what_its_source_allows() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 1).unwrap();
    story.receive("tea", "west", 1).unwrap();
    let only = |at: &str| Source::Warehouse(warehouse(at));
    let old = story.hold_lines(vec![line("tea", 1, only("east")), line("tea", 1, Source::Any)]);
    // The line that names its warehouse chooses first.
    let lines = vec![any("tea", 1), line("tea", 1, only("west"))];
    let (new, outcome) = story.replace(old, lines);
    let Ok(Success::Reserved { lines, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    let places: Vec<_> = lines
        .iter()
        .map(|line| line.allocations[0].warehouse.as_str())
        .collect();
    assert_eq!(places, ["east", "west"]);
    // Nothing of the old hold may be kept, and no other units are there.
    let (_, refused) = story.replace(new, vec![line("tea", 2, only("east"))]);
    assert!(
        matches!(refused, Err(Refusal::InsufficientStock(_))),
        "{refused:?}"
    );
}

#[test]
fn the_most_for_one_reservation_holds_for_what_is_kept_and_taken_together() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 9).unwrap();
    story
        .act(Action::SetPolicy {
            sku: sku("tea"),
            storefront: storefront("web"),
            may_borrow: true,
            max_per_reservation: 3,
            backorder_limit: 0,
            preorder_limit: 0,
            preorder_until_ms: 0,
        })
        .unwrap();
    let old = story.hold("tea", 2);
    let (_, refused) = story.replace(old, vec![any("tea", 4)]);
    assert!(
        matches!(refused, Err(Refusal::InsufficientStock(_))),
        "{refused:?}"
    );
    let (_, outcome) = story.replace(old, vec![any("tea", 3)]);
    outcome.unwrap();
}

#[test]
fn what_is_no_hold_of_the_storefront_cannot_be_replaced() {
    let mut story = stocked();
    let committed = story.hold("tea", 1);
    story.commit(committed).unwrap();
    let (_, refused) = story.replace(committed, vec![any("tea", 1)]);
    assert!(matches!(refused, Err(Refusal::WrongState { .. })), "{refused:?}");
    let (_, refused) = story.replace(id_at(START_MS, 77), vec![any("tea", 1)]);
    assert_eq!(refused, Err(Refusal::UnknownReservation));
    let held = story.hold("tea", 1);
    let other = Action::Reserve {
        storefront: storefront("shop"),
        lines: vec![any("tea", 1)],
        ttl_ms: 60_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    };
    let other = Command {
        details: Details {
            replaces: Some(held),
            ..Details::default()
        },
        ..story.command(other)
    };
    assert_eq!(story.send(&other), Err(Refusal::UnknownReservation));
    let replace = story.replace_command(held, vec![any("tea", 1)]);
    story.wait(60_000);
    assert!(matches!(story.send(&replace), Err(Refusal::Expired { .. })));
    assert_eq!(story.cell("tea", "east").held, 0);
}

#[test]
fn best_effort_keeps_what_it_has_and_takes_what_there_is() {
    let mut story = stocked();
    let old = story.hold("tea", 4);
    let command = Command {
        details: Details {
            replaces: Some(old),
            ..Details::default()
        },
        ..story.reserve_command(vec![any("tea", 9), any("none", 1)], ReserveMode::BestEffort)
    };
    let Ok(Success::Reserved { lines, .. }) = story.send(&command) else {
        panic!();
    };
    assert_eq!(lines.iter().map(|line| line.granted).collect::<Vec<_>>(), [5, 0]);
}

fn policy(max_per_reservation: i64, backorder_limit: i64) -> Action {
    Action::SetPolicy {
        sku: sku("tea"),
        storefront: storefront("web"),
        may_borrow: true,
        max_per_reservation,
        backorder_limit,
        preorder_limit: 0,
        preorder_until_ms: 0,
    }
}

#[test]
fn one_line_is_kept_and_another_of_the_same_cell_is_dropped_while_units_are_waited_for() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 2).unwrap();
    story.pool("tea", "east", "web", 2).unwrap();
    story.act(policy(0, 10)).unwrap();
    let east = || Source::Warehouse(warehouse("east"));
    let lines = vec![any("tea", 5), line("tea", 2, east())];
    let old = story.hold_lines(lines);
    assert_eq!(story.cell("tea", "east").backordered, 5);
    let (new, outcome) = story.replace(old, vec![any("tea", 5)]);
    outcome.unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.held, cell.backordered, cell.free), (5, 3, 0));
    // The same holds if units are missing.
    story.count("tea", "east", 0, None).unwrap();
    let lines = vec![any("tea", 5), line("tea", 2, east())];
    let (more, outcome) = story.replace(new, lines);
    outcome.unwrap();
    let (_, outcome) = story.replace(more, vec![any("tea", 5)]);
    outcome.unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.held, cell.backordered + cell.deficit), (5, 5));
}

#[test]
fn a_hold_of_more_than_the_policy_allows_by_now_keeps_it_and_gets_no_more() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 9).unwrap();
    let old = story.hold("tea", 4);
    story.act(policy(3, 0)).unwrap();
    let (_, refused) = story.replace(old, vec![any("tea", 5)]);
    let shortage = Shortage {
        line: 0,
        sku: sku("tea"),
        requested: 5,
        available: 4,
    };
    assert_eq!(refused, Err(Refusal::InsufficientStock(vec![shortage])));
    let best_effort = Command {
        details: Details {
            replaces: Some(old),
            ..Details::default()
        },
        ..story.reserve_command(vec![any("tea", 5)], ReserveMode::BestEffort)
    };
    story.send(&best_effort).unwrap();
    assert_eq!(story.cell("tea", "east").held, 4);
}

#[test]
fn what_a_replacement_compares_is_bounded() {
    let mut story = Story::by(Rules::Second);
    for place in 0..17 {
        story.receive("tea", &format!("w{place}"), 1).unwrap();
    }
    let old = story.hold("tea", 17);
    let lines = |count: usize| {
        let line_of = |place| line("tea", 1, Source::Warehouse(warehouse(&format!("w{place}"))));
        (0..count).map(line_of).collect::<Vec<_>>()
    };
    let (_, refused) = story.replace(old, lines(1_024));
    assert!(
        matches!(refused, Err(Refusal::LimitReached { .. })),
        "{refused:?}"
    );
    let (_, outcome) = story.replace(old, lines(17));
    outcome.unwrap();
}
