//! Tests of best-effort orders, which take what there is in every shard.

use super::*;

#[test]
fn best_effort_takes_what_there_is_in_every_shard() {
    let mut shards = Shards::stocked(3, 10);
    shards.stories[0].hold("0-a", 10);
    shards.stories[1].hold("1-a", 7);
    let order = shards.order(&["0-a", "1-a", "2-a"], 5, ReserveMode::BestEffort);
    let end = shards.run(&order);
    assert_eq!(granted(&end), [(0, 0), (1, 3), (2, 5)]);
    shards.resolve();
    shards
        .act(
            0,
            Action::Commit {
                reservation_id: order.operation_id,
            },
        )
        .unwrap();
    shards.resolve();
    assert_eq!(shards.units(), [(0, 10, 0), (0, 7, 3), (5, 0, 5)]);
}

#[test]
fn units_of_an_earlier_attempt_that_are_not_back_yet_are_no_shortage_for_a_best_effort_order() {
    let mut shards = Shards::stocked(3, 10);
    // A shard that is really short prevents nobody from trying again.
    shards.stories[2].hold("2-a", 8);
    let order = shards.order(&["0-a", "1-a", "2-a"], 5, ReserveMode::BestEffort);
    let mut first = Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap();
    let begun = first.start();
    for target in &begun {
        shards.deliver(target).unwrap();
    }
    // Its caller's time is over. The home receives the abort, the other shards do not yet.
    let abort = first.give_up().send.remove(0);
    shards.deliver(&abort).unwrap();
    // The next coordinator asks them to give back, and its messages do not arrive either.
    let mut second = Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap();
    let mut waiting: VecDeque<Target> = second.start().into();
    let mut lost = 0;
    let end = loop {
        let target = waiting.pop_front().unwrap();
        let is_settle = matches!(target.command.action, Action::Order(OrderStep::Settle(_)));
        let progress = if is_settle && lost < 2 {
            lost += 1;
            second.on_failure(target.number, StepFailure::NotDone)
        } else {
            let answer = shards.deliver(&target);
            second.on_answer(target.number, answer)
        };
        if let Some(end) = progress.end {
            break end;
        }
        waiting.extend(progress.send);
    };
    assert_eq!((lost, granted(&end)), (2, vec![(0, 5), (1, 5), (2, 2)]));
    shards.resolve();
    assert_eq!(shards.units(), [(5, 5, 0), (5, 5, 0), (0, 10, 0)]);
}

#[test]
fn of_two_coordinators_of_a_best_effort_order_both_tell_what_the_first_one_held() {
    let mut shards = Shards::stocked(2, 10);
    let taken = shards.stories[1].hold("1-a", 10);
    let order = shards.order(&["0-a", "1-a"], 5, ReserveMode::BestEffort);
    let [mut first, mut second] =
        [(); 2].map(|()| Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap());
    let [to_first, to_second] = [&mut first, &mut second].map(Coordinator::start);
    let mut answer = |coordinator: &mut Coordinator, target: &Target| {
        let outcome = shards.deliver(target);
        coordinator.on_answer(target.number, outcome)
    };
    answer(&mut first, &to_first[0]);
    let hold = answer(&mut first, &to_first[1]).send.remove(0);
    // The other coordinator finds the units that became free in between.
    answer(&mut second, &to_second[0]);
    shards.stories[1]
        .act(Action::Release {
            reservation_id: taken,
        })
        .unwrap();
    let mut answer = |coordinator: &mut Coordinator, target: &Target| {
        let outcome = shards.deliver(target);
        coordinator.on_answer(target.number, outcome)
    };
    let late_hold = answer(&mut second, &to_second[1]).send.remove(0);
    let ends = [
        answer(&mut first, &hold).end.unwrap(),
        answer(&mut second, &late_hold)
            .end
            .unwrap_or_else(|| panic!("{second:?}")),
    ];
    assert_eq!(granted(&ends[0]), [(0, 5), (1, 0)]);
    assert_eq!(granted(&ends[1]), granted(&ends[0]));
    shards.resolve();
    assert_eq!(shards.units(), [(5, 5, 0), (10, 0, 0)]);
}

#[test]
fn a_best_effort_order_whose_home_got_nothing_closes_when_the_rest_has_shipped() {
    let mut shards = Shards::stocked(2, 10);
    shards.stories[0].hold("0-a", 10);
    let order = shards.order(&["0-a", "1-a"], 5, ReserveMode::BestEffort);
    let reservation_id = order.operation_id;
    assert_eq!(granted(&shards.run(&order)), [(0, 0), (1, 5)]);
    shards.act(0, Action::Commit { reservation_id }).unwrap();
    shards.resolve();
    let live = |shards: &Shards| shards.stories[0].ledger.live_reservation_count();
    assert_eq!(live(&shards), 1, "the hold that took everything");
    let cancel = Action::Cancel {
        reservation_id,
        lines: Vec::new(),
    };
    let nothing = shards.act(0, Action::OfPart(Box::new(cancel)));
    let state = ReservationState::Cancelled;
    assert_eq!(nothing, Err(Refusal::WrongState { state }), "nothing to cancel");
    let again = shards.act(0, Action::Commit { reservation_id });
    let state = ReservationState::Committed;
    assert_eq!(again, Err(Refusal::WrongState { state }));
    let ship = Action::Ship {
        reservation_id,
        lines: Vec::new(),
    };
    shards.act(1, Action::OfPart(Box::new(ship))).unwrap();
    let options = LedgerOptions::default();
    for _ in 0..3 {
        shards.wait(options.shipped_retention_ms + 1);
    }
    assert_eq!(shards.states(reservation_id), BTreeMap::new(), "all is forgotten");
    assert!(
        shards
            .stories
            .iter()
            .all(|story| story.ledger.orders.get(&reservation_id).is_none())
    );
}

#[test]
fn a_part_without_units_that_the_first_rules_left_open_is_closed_by_the_second() {
    let mut shards = Shards::stocked(2, 10);
    for story in &mut shards.stories {
        *story = Story::new();
    }
    for shard in 0..2 {
        shards.stories[shard]
            .receive(&format!("{shard}-a"), "w", 10)
            .unwrap();
    }
    let taken = shards.stories[0].hold("0-a", 10);
    let order = shards.order(&["0-a", "1-a"], 5, ReserveMode::BestEffort);
    let reservation_id = order.operation_id;
    granted(&shards.run(&order));
    shards.act(0, Action::Commit { reservation_id }).unwrap();
    shards
        .act(
            0,
            Action::Release {
                reservation_id: taken,
            },
        )
        .unwrap();
    shards.resolve();
    let live = |shards: &Shards| shards.stories[0].ledger.live_reservation_count();
    assert_eq!(live(&shards), 1, "nothing will ever close it");
    let rules = Rules::Second;
    shards.act(0, Action::AdoptRules { rules }).unwrap();
    for _ in 0..3 {
        shards.wait(LedgerOptions::default().shipped_retention_ms + 2);
    }
    assert_eq!(live(&shards), 0);
    assert!(shards.stories[0].ledger.orders.get(&reservation_id).is_none());
}
