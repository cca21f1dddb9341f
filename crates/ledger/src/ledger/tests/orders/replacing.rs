//! Tests of holds over several shards that replace each other, and of documents that only one hold may have.

use super::*;

impl Shards {
    fn replacing(&mut self, of: ReservationId, names: &[(&str, i64)]) -> Command {
        let order = self.order(&[], 0, ReserveMode::AllOrNothing);
        let Action::Reserve {
            storefront,
            ttl_ms,
            mode,
            sourcing,
            ..
        } = order.action
        else {
            unreachable!("an order is a Reserve");
        };
        let lines = names
            .iter()
            .map(|(name, quantity)| line(name, *quantity, Source::Any))
            .collect();
        Command {
            details: Details {
                replaces: Some(of),
                ..Details::default()
            },
            action: Action::Reserve {
                storefront,
                lines,
                ttl_ms,
                mode,
                sourcing,
            },
            ..order
        }
    }

    fn run_at(&mut self, home: ShardNumber, request: &Command) -> End {
        match Coordinator::new(request.clone(), Some(home), shard_of).unwrap() {
            Some(coordinator) => self.drive(coordinator),
            None => End::Outcome(self.stories[home as usize].send(request)),
        }
    }

    fn held(&self, shard: usize, name: &str) -> i64 {
        self.stories[shard].cell(name, "w").held
    }

    fn granted(&self, id: ReservationId) -> BTreeMap<String, i64> {
        let views = self.stories.iter().filter_map(|story| story.view(id));
        let lines = views.flat_map(|view| view.lines);
        lines.map(|line| (line.sku.to_string(), line.granted)).collect()
    }
}

fn granted_of(end: &End) -> Vec<i64> {
    match end {
        End::Outcome(Ok(Success::Reserved { lines, .. })) => lines.iter().map(|line| line.granted).collect(),
        other => panic!("{other:?}"),
    }
}

fn stocked(count: usize, units: i64) -> Shards {
    let mut shards = Shards::stocked(count, units);
    shards.stories[0].receive("0-b", "w", units).unwrap();
    shards
}

#[test]
fn a_cart_over_two_shards_keeps_the_last_units_and_changes_its_other_line() {
    let mut shards = stocked(3, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let new = shards.replacing(old.operation_id, &[("1-a", 1), ("2-a", 1)]);
    let end = shards.run_at(0, &new);
    assert_eq!(granted_of(&end), [1, 1]);
    // This is so even before the others have heard of it.
    assert_eq!(shards.granted(new.operation_id)["1-a"], 1);
    shards.resolve();
    assert_eq!(
        shards.granted(new.operation_id),
        [("1-a", 1), ("2-a", 1)]
            .map(|(name, units)| (name.to_owned(), units))
            .into()
    );
    assert_eq!(
        [
            shards.held(0, "0-a"),
            shards.held(1, "1-a"),
            shards.held(2, "2-a")
        ],
        [0, 1, 1]
    );
    let states = shards.states(old.operation_id);
    assert!(
        states.values().all(|state| *state == ReservationState::Released),
        "{states:?}"
    );
    let commit = shards.stories[0].commit(new.operation_id);
    assert!(commit.is_ok(), "{commit:?}");
    shards.resolve();
    assert_eq!(shards.stories[1].cell("1-a", "w").committed, 1);
    assert_eq!(shards.stories[2].cell("2-a", "w").committed, 1);
}

#[test]
fn an_order_shrinks_into_one_shard_and_grows_out_of_it_again() {
    let mut shards = stocked(2, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    // The new hold has units at the home alone.
    let small = shards.replacing(old.operation_id, &[("0-a", 1), ("0-b", 1)]);
    assert_eq!(granted_of(&shards.run_at(0, &small)), [1, 1]);
    shards.resolve();
    assert_eq!(
        [
            shards.held(0, "0-a"),
            shards.held(0, "0-b"),
            shards.held(1, "1-a")
        ],
        [1, 1, 0]
    );
    let large = shards.replacing(small.operation_id, &[("1-a", 1), ("0-a", 1)]);
    assert_eq!(granted_of(&shards.run_at(0, &large)), [1, 1]);
    shards.resolve();
    assert_eq!(
        [
            shards.held(0, "0-a"),
            shards.held(0, "0-b"),
            shards.held(1, "1-a")
        ],
        [1, 0, 1]
    );
    // The new hold has no line at the home.
    let away = shards.replacing(large.operation_id, &[("1-a", 1)]);
    assert_eq!(granted_of(&shards.run_at(0, &away)), [1]);
    shards.resolve();
    assert_eq!([shards.held(0, "0-a"), shards.held(1, "1-a")], [0, 1]);
    shards.stories[0].commit(away.operation_id).unwrap();
    shards.resolve();
    assert_eq!(shards.stories[1].cell("1-a", "w").committed, 1);
}

#[test]
fn a_replacement_that_one_shard_refuses_leaves_the_old_hold_everywhere_as_it_was() {
    let mut shards = stocked(3, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let new = shards.replacing(old.operation_id, &[("1-a", 1), ("2-a", 2), ("0-b", 1)]);
    let end = shards.run_at(0, &new);
    assert!(
        matches!(end, End::Outcome(Err(Refusal::InsufficientStock(_)))),
        "{end:?}"
    );
    shards.resolve();
    assert_eq!(
        [
            shards.held(0, "0-a"),
            shards.held(0, "0-b"),
            shards.held(1, "1-a"),
            shards.held(2, "2-a")
        ],
        [1, 0, 1, 0]
    );
    let states = shards.states(old.operation_id);
    assert!(
        states.values().all(|state| *state == ReservationState::Held),
        "{states:?}"
    );
    assert!(shards.states(new.operation_id).is_empty());
    shards.stories[0].commit(old.operation_id).unwrap();
}

#[test]
fn one_of_two_replacements_at_a_time_wins_and_the_other_takes_nothing() {
    let mut shards = stocked(3, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let first = shards.replacing(old.operation_id, &[("1-a", 1), ("2-a", 1)]);
    let second = shards.replacing(old.operation_id, &[("1-a", 1), ("0-b", 1)]);
    let mut coordinators = [&first, &second].map(|request| {
        Coordinator::new(request.clone(), Some(0), shard_of)
            .unwrap()
            .unwrap()
    });
    let mut ends = [const { None }; 2];
    let mut waiting: VecDeque<(usize, Target)> = VecDeque::new();
    for (who, coordinator) in coordinators.iter_mut().enumerate() {
        waiting.extend(coordinator.start().into_iter().map(|target| (who, target)));
    }
    while let Some((who, target)) = waiting.pop_front() {
        let answer = shards.deliver(&target);
        let progress = coordinators[who].on_answer(target.number, answer);
        waiting.extend(progress.send.into_iter().map(|target| (who, target)));
        if progress.end.is_some() {
            ends[who] = progress.end;
        }
    }
    assert_eq!(granted_of(ends[0].as_ref().unwrap()), [1, 1]);
    let state = ReservationState::Released;
    assert_eq!(ends[1], Some(End::Outcome(Err(Refusal::WrongState { state }))));
    shards.resolve();
    assert_eq!(
        [
            shards.held(0, "0-a"),
            shards.held(0, "0-b"),
            shards.held(1, "1-a"),
            shards.held(2, "2-a")
        ],
        [0, 0, 1, 1]
    );
}

#[test]
fn a_hold_that_is_committed_meanwhile_is_not_replaced() {
    let mut shards = stocked(3, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let new = shards.replacing(old.operation_id, &[("1-a", 1), ("2-a", 1)]);
    let mut coordinator = Coordinator::new(new.clone(), Some(0), shard_of).unwrap().unwrap();
    let mut waiting: VecDeque<Target> = coordinator.start().into();
    let mut end = None;
    while let Some(target) = waiting.pop_front() {
        if matches!(target.command.action, Action::Order(OrderStep::Decide { .. })) && end.is_none() {
            shards.stories[0].commit(old.operation_id).ok();
            shards.resolve();
        }
        let answer = shards.deliver(&target);
        let progress = coordinator.on_answer(target.number, answer);
        waiting.extend(progress.send);
        end = progress.end;
    }
    let state = ReservationState::Committed;
    assert_eq!(end, Some(End::Outcome(Err(Refusal::WrongState { state }))));
    shards.resolve();
    assert_eq!(shards.stories[1].cell("1-a", "w").committed, 1);
    assert_eq!(shards.held(2, "2-a"), 0);
}

#[test]
fn a_part_that_hears_of_the_release_first_waits_for_the_hold_that_keeps_its_units() {
    let mut shards = stocked(2, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let new = shards.replacing(old.operation_id, &[("1-a", 1), ("0-b", 1)]);
    assert_eq!(granted_of(&shards.run_at(0, &new)), [1, 1]);
    let work = shards.stories[0].ledger.order_work(100);
    let release = work
        .settle
        .iter()
        .find(|due| due.reservation_id == old.operation_id)
        .unwrap();
    assert_eq!(release.settlement.verdict, Verdict::Released);
    let step = OrderStep::Settle(release.settlement.clone());
    let waits = shards.step(1, old.operation_id, step);
    assert_eq!(waits, Err(Refusal::Contended(Vec::new())));
    assert_eq!(shards.held(1, "1-a"), 1);
    shards.resolve();
    assert_eq!(shards.held(1, "1-a"), 1);
    assert_eq!(shards.granted(new.operation_id)["1-a"], 1);
}

#[test]
fn a_replacement_whose_coordinator_dies_is_aborted_and_lets_go_of_nothing() {
    let mut shards = stocked(2, 2);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let new = shards.replacing(old.operation_id, &[("0-a", 2), ("1-a", 2)]);
    let mut coordinator = Coordinator::new(new.clone(), Some(0), shard_of).unwrap().unwrap();
    for target in coordinator.start() {
        shards.deliver(&target).unwrap();
    }
    assert_eq!([shards.held(0, "0-a"), shards.held(1, "1-a")], [2, 2]);
    shards.wait(10_000);
    shards.resolve();
    assert_eq!([shards.held(0, "0-a"), shards.held(1, "1-a")], [1, 1]);
    assert!(shards.states(new.operation_id).is_empty());
    assert!(
        shards
            .states(old.operation_id)
            .values()
            .all(|state| *state == ReservationState::Held)
    );
}

#[test]
fn a_stranger_with_the_id_of_the_replaced_hold_keeps_its_units() {
    let mut shards = stocked(3, 1);
    let old = shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&old), End::Outcome(Ok(_))));
    shards.resolve();
    let mut stranger = shards.order(&["2-a"], 1, ReserveMode::AllOrNothing);
    stranger.operation_id = old.operation_id;
    shards.stories[2].send(&stranger).unwrap();
    shards.stories[2].receive("2-b", "w", 1).unwrap();
    let new = shards.replacing(old.operation_id, &[("1-a", 1), ("2-b", 1)]);
    assert_eq!(granted_of(&shards.run_at(0, &new)), [1, 1]);
    shards.resolve();
    assert_eq!([shards.held(2, "2-a"), shards.held(2, "2-b")], [1, 1]);
    assert_eq!(
        shards.stories[2].state(old.operation_id),
        Some(ReservationState::Held)
    );
}

fn unique(mut command: Command) -> Command {
    command.details.unique_reference = true;
    command
}

#[test]
fn one_document_under_two_ids_is_held_once_whatever_its_lines_are() {
    let mut shards = stocked(3, 5);
    // Shard 2 decides about the document, and has none of the SKUs.
    let first = unique(shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing));
    let second = unique(shards.order(&["0-b"], 1, ReserveMode::AllOrNothing));
    assert_eq!(granted_of(&shards.run_at(2, &first)), [1, 1]);
    let refused = shards.run_at(2, &second);
    let reservation_id = first.operation_id;
    assert_eq!(
        refused,
        End::Outcome(Err(Refusal::ReferenceTaken { reservation_id }))
    );
    let again = shards.run_at(2, &first);
    assert!(
        matches!(again, End::Outcome(Ok(Success::Reserved { replayed: true, .. }))),
        "{again:?}"
    );
    shards.resolve();
    assert_eq!(
        [
            shards.held(0, "0-a"),
            shards.held(0, "0-b"),
            shards.held(1, "1-a")
        ],
        [1, 0, 1]
    );
    // A released hold makes room for another one.
    shards.stories[2].act(Action::Release { reservation_id }).unwrap();
    shards.resolve();
    let third = unique(shards.order(&["0-b"], 1, ReserveMode::AllOrNothing));
    assert_eq!(granted_of(&shards.run_at(2, &third)), [1]);
}

#[test]
fn a_document_whose_order_is_refused_is_free_for_the_next_one() {
    let mut shards = stocked(3, 1);
    let first = unique(shards.order(&["0-a", "1-a"], 2, ReserveMode::AllOrNothing));
    let refused = shards.run_at(2, &first);
    assert!(
        matches!(refused, End::Outcome(Err(Refusal::InsufficientStock(_)))),
        "{refused:?}"
    );
    shards.resolve();
    let second = unique(shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing));
    assert_eq!(granted_of(&shards.run_at(2, &second)), [1, 1]);
}

#[test]
fn a_replacement_that_fails_leaves_its_document_with_the_old_hold() {
    let mut shards = stocked(3, 1);
    let old = unique(shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing));
    assert_eq!(granted_of(&shards.run_at(2, &old)), [1, 1]);
    shards.resolve();
    let failing = unique(shards.replacing(old.operation_id, &[("0-a", 2), ("1-a", 1)]));
    let refused = shards.run_at(2, &failing);
    assert!(matches!(refused, End::Outcome(Err(_))), "{refused:?}");
    shards.resolve();
    let other = unique(shards.order(&["0-b", "1-a"], 1, ReserveMode::AllOrNothing));
    let reservation_id = old.operation_id;
    assert_eq!(
        shards.run_at(2, &other),
        End::Outcome(Err(Refusal::ReferenceTaken { reservation_id }))
    );
    let new = unique(shards.replacing(old.operation_id, &[("0-a", 1), ("0-b", 1)]));
    assert_eq!(granted_of(&shards.run_at(2, &new)), [1, 1]);
    shards.resolve();
    let reservation_id = new.operation_id;
    let late = unique(shards.order(&["1-a"], 1, ReserveMode::AllOrNothing));
    assert_eq!(
        shards.run_at(2, &late),
        End::Outcome(Err(Refusal::ReferenceTaken { reservation_id }))
    );
}

#[test]
fn an_order_whose_home_has_no_line_is_shipped_days_after_its_commit_and_keeps_its_reference() {
    let mut shards = stocked(3, 5);
    let first = unique(shards.order(&["0-a", "1-a"], 1, ReserveMode::AllOrNothing));
    assert_eq!(granted_of(&shards.run_at(2, &first)), [1, 1]);
    shards.resolve();
    let reservation_id = first.operation_id;
    shards.stories[2].commit(reservation_id).unwrap();
    shards.resolve();
    shards.wait(72 * 3_600_000);
    for story in &mut shards.stories {
        story.receive("any", "w", 1).unwrap();
    }
    assert!(
        shards.stories[2].view(reservation_id).is_some(),
        "the home knows who has its units"
    );
    let mut second = unique(shards.order(&["0-b"], 1, ReserveMode::AllOrNothing));
    second.operation_id = id_at(START_MS + 72 * 3_600_000, 1);
    assert_eq!(
        shards.run_at(2, &second),
        End::Outcome(Err(Refusal::ReferenceTaken { reservation_id }))
    );
    let lines = Vec::new();
    let ship = Action::OfPart(Box::new(Action::Ship {
        reservation_id,
        lines,
    }));
    shards.stories[0].act(ship.clone()).unwrap();
    assert_eq!(shards.stories[0].cell("0-a", "w").on_hand, 4);
    shards.wait(LedgerOptions::default().shipped_retention_ms);
    for story in &mut shards.stories {
        story.receive("any", "w", 1).unwrap();
    }
    assert!(
        shards.stories[2].view(reservation_id).is_none(),
        "the home has forgotten it"
    );
    shards.stories[1].act(ship).unwrap();
    assert_eq!(shards.stories[1].cell("1-a", "w").on_hand, 4);
}
