//! Tests of several requests under one id: one has an effect, and the others are refused and change nothing.

use super::*;

/// Gives a command the id of another one.
fn as_id_of(first: &Command, mut other: Command) -> Command {
    other.operation_id = first.operation_id;
    other
}

fn reused() -> End {
    End::Outcome(Err(Refusal::OperationIdReused))
}

#[test]
fn an_id_with_its_lines_in_another_order_is_refused_and_the_paid_order_stays_whole() {
    let mut shards = Shards::stocked(2, 10);
    let first = shards.order(&["0-a", "1-a"], 5, ALL);
    let turned = as_id_of(&first, shards.order(&["1-a", "0-a"], 5, ALL));
    granted(&shards.run(&first));
    assert_eq!(shards.run(&turned), reused());
    assert_eq!(shards.units(), [(5, 5, 0); 2]);
    let reservation_id = first.operation_id;
    shards.act(0, Action::Commit { reservation_id }).unwrap();
    assert_eq!(shards.run(&turned), reused());
    shards.resolve();
    assert_eq!(shards.units(), [(5, 0, 5); 2]);
    // The traces of the second request are forgotten some day, but not before the order.
    shards.wait(2 * LedgerOptions::default().shipped_retention_ms);
    assert_eq!(shards.units(), [(5, 0, 5); 2]);
}

#[test]
fn two_requests_for_one_id_that_meet_crosswise_leave_nothing_taken() {
    let mut shards = Shards::stocked(2, 10);
    let first = shards.order(&["0-a", "1-a"], 5, ALL);
    let turned = as_id_of(&first, shards.order(&["1-a", "0-a"], 5, ALL));
    let mut coordinators =
        [&first, &turned].map(|order| Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap());
    // Both begin at their homes, and then each finds the other one there.
    let starts: Vec<Vec<Target>> = coordinators.iter_mut().map(Coordinator::start).collect();
    let mut waiting: VecDeque<(usize, Target)> = VecDeque::new();
    for place in 0..2 {
        for (who, start) in starts.iter().enumerate() {
            waiting.push_back((who, start[place].clone()));
        }
    }
    let mut ends = Vec::new();
    while let Some((who, target)) = waiting.pop_front() {
        let answer = shards.deliver(&target);
        let progress = coordinators[who].on_answer(target.number, answer);
        waiting.extend(progress.send.into_iter().map(|target| (who, target)));
        ends.extend(progress.end);
    }
    assert_eq!(ends, [reused(), reused()]);
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0); 2]);
}

#[test]
fn an_order_over_some_of_the_same_shards_is_refused_whichever_came_first() {
    let orders = [
        ["0-a", "1-a"],
        ["1-a", "2-a"],
        ["2-a", "1-a"],
        ["1-a", "0-a"],
        ["2-a", "0-a"],
    ];
    for first in orders {
        for second in orders.into_iter().filter(|second| *second != first) {
            let mut shards = Shards::stocked(3, 10);
            let first = shards.order(&first, 3, ALL);
            let second = as_id_of(&first, shards.order(&second, 4, ALL));
            granted(&shards.run(&first));
            let held = shards.units();
            assert_eq!(shards.run(&second), reused());
            assert_eq!(shards.units(), held, "nothing is left to be given back");
            shards.resolve();
            assert_eq!(shards.run(&second), reused());
            let reservation_id = first.operation_id;
            let home = shard_of(&sku(match &first.action {
                Action::Reserve { lines, .. } => lines[0].sku.as_str(),
                _ => unreachable!(),
            }));
            shards
                .act(home as usize, Action::Commit { reservation_id })
                .unwrap();
            shards.resolve();
            let paid: Vec<_> = held.iter().map(|(free, held, _)| (*free, 0, *held)).collect();
            assert_eq!(shards.units(), paid);
        }
    }
}

#[test]
fn a_tombstone_in_a_participant_swallows_no_settlement_of_an_order() {
    let mut shards = Shards::stocked(2, 10);
    let first = shards.order(&["0-a", "1-a"], 3, ALL);
    granted(&shards.run(&first));
    let id = first.operation_id;
    // Some coordinator treats shard 1 as the home of an order with this id, and aborts it there.
    let abort = OrderStep::Decide {
        attempt: 1,
        decision: Decision::Abort,
    };
    shards.step(1, id, abort).unwrap();
    shards.act(0, Action::Commit { reservation_id: id }).unwrap();
    shards.resolve();
    assert_eq!(shards.units(), [(7, 0, 3); 2]);
}

#[test]
fn a_tombstone_beside_a_hold_of_one_shard_does_not_keep_it_from_being_paid() {
    let mut shards = Shards::stocked(2, 10);
    let alone = shards.order(&["0-a"], 3, ALL);
    shards.stories[0].send(&alone).unwrap();
    let order = as_id_of(&alone, shards.order(&["0-a", "1-a"], 3, ALL));
    assert_eq!(shards.run(&order), reused());
    let abort = OrderStep::Decide {
        attempt: 1,
        decision: Decision::Abort,
    };
    shards.step(0, alone.operation_id, abort).unwrap();
    shards.resolve();
    assert_eq!(shards.units(), [(7, 3, 0), (10, 0, 0)]);
    let reservation_id = alone.operation_id;
    shards.act(0, Action::Commit { reservation_id }).unwrap();
    assert_eq!(shards.units(), [(7, 0, 3), (10, 0, 0)]);
}

#[test]
fn the_abort_of_an_order_gives_nothing_of_another_order_with_its_id_back() {
    let mut shards = Shards::stocked(3, 10);
    let first = shards.order(&["0-a", "1-a"], 3, ALL);
    let second = as_id_of(&first, shards.order(&["2-a", "1-a"], 4, ALL));
    let mut coordinator = Coordinator::new(second.clone(), None, shard_of).unwrap().unwrap();
    let [begin, prepare] = coordinator.start().try_into().unwrap();
    let prepared = shards.deliver(&prepare);
    coordinator.on_answer(prepare.number, prepared);
    // The first order finds its id taken in shard 1, and is aborted there too.
    assert_eq!(shards.run(&first), reused());
    let work = shards.stories[0].ledger.order_work(10);
    assert_eq!(work.settle.len(), 1);
    for due in work.settle {
        shards
            .step(1, due.reservation_id, OrderStep::Settle(due.settlement))
            .unwrap();
    }
    let begun = shards.deliver(&begin);
    let [hold] = coordinator
        .on_answer(begin.number, begun)
        .send
        .try_into()
        .unwrap();
    let held = shards.deliver(&hold);
    granted(&coordinator.on_answer(hold.number, held).end.unwrap());
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0), (6, 4, 0), (6, 4, 0)]);
}

/// Returns commands of every kind that callers may send about things in shard 0.
fn every_kind(of: ReservationId) -> Vec<Action> {
    let (sku, warehouse, web) = (sku("0-a"), warehouse("w"), storefront("web"));
    let transfer = TransferLine {
        sku: sku.clone(),
        quantity: 1,
    };
    let reserve = |mode| Action::Reserve {
        storefront: web.clone(),
        lines: vec![line("0-a", 1, Source::Any)],
        ttl_ms: TTL_MS,
        mode,
        sourcing: Sourcing::AsGiven,
    };
    vec![
        reserve(ALL),
        reserve(ReserveMode::BestEffort),
        Action::Extend {
            reservation_id: of,
            ttl_ms: 2 * TTL_MS,
        },
        Action::Commit { reservation_id: of },
        Action::Release { reservation_id: of },
        Action::Receive {
            sku: sku.clone(),
            warehouse: warehouse.clone(),
            quantity: 1,
            supply_id: None,
        },
        Action::Adjust {
            sku: sku.clone(),
            warehouse: warehouse.clone(),
            delta: -1,
        },
        Action::Count {
            sku: sku.clone(),
            warehouse: warehouse.clone(),
            counted: 9,
            as_of_seq: None,
        },
        Action::MoveBucket {
            sku: sku.clone(),
            warehouse: warehouse.clone(),
            from: Bucket::Free,
            to: Bucket::Safety,
            quantity: 1,
        },
        Action::AllocatePool {
            sku: sku.clone(),
            warehouse: warehouse.clone(),
            storefront: web,
            target: 1,
        },
        Action::Return {
            of: ReturnOf::Unreferenced {
                sku: sku.clone(),
                warehouse: warehouse.clone(),
                quantity: 1,
            },
            disposition: Disposition::Restock,
        },
        Action::TransferOut {
            lines: vec![transfer],
            from: warehouse.clone(),
            to: self::warehouse("elsewhere"),
            expected_at_ms: START_MS,
        },
        Action::ExpectSupply {
            sku,
            warehouse,
            supply_id: SupplyId::new("po-1").unwrap(),
            quantity: 1,
            expected_at_ms: START_MS,
        },
    ]
}

#[test]
fn no_other_command_takes_effect_under_the_id_of_an_order() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    granted(&shards.run(&order));
    shards.resolve();
    let before = shards.stories[0].ledger.last_seq();
    for action in every_kind(order.operation_id) {
        let other = Command {
            reason: CallerReason::new("other").unwrap(),
            action,
            ..order.clone()
        };
        let answer = shards.stories[0].send(&other);
        assert_eq!(answer, Err(Refusal::OperationIdReused), "{other:?}");
        let previewed = shards.stories[0].ledger.preview(START_MS, &other);
        assert_eq!(previewed, Some(Err(Refusal::OperationIdReused)), "{other:?}");
    }
    assert_eq!(shards.stories[0].ledger.last_seq(), before);
}

#[test]
fn no_order_takes_effect_under_the_id_of_another_command() {
    for place in 0..every_kind(id_at(START_MS, 1)).len() {
        for names in [["0-a", "1-a"], ["1-a", "0-a"]] {
            let mut shards = Shards::stocked(2, 10);
            let held = shards.stories[0].hold("0-a", 1);
            let order = shards.order(&names, 3, ALL);
            let other = Command {
                reason: CallerReason::new("other").unwrap(),
                action: every_kind(held).remove(place),
                ..order.clone()
            };
            shards.stories[0].send(&other).unwrap();
            let before = shards.stories[0].ledger.last_seq();
            assert_eq!(shards.run(&order), reused(), "{other:?}");
            shards.resolve();
            assert_eq!(shards.stories[0].ledger.last_seq(), before, "{other:?}");
            assert_eq!(shards.units()[1], (10, 0, 0), "{other:?}");
        }
    }
}

#[test]
fn of_two_coordinators_that_hold_one_order_one_says_that_it_was_first() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    let mut coordinators: Vec<Coordinator> = (0..2)
        .map(|_| Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap())
        .collect();
    let mut holds = Vec::new();
    for coordinator in &mut coordinators {
        let mut send = Vec::new();
        for step in coordinator.start() {
            let answer = shards.deliver(&step);
            send = coordinator.on_answer(step.number, answer).send;
        }
        let steps: [Target; 1] = send.try_into().unwrap();
        holds.extend(steps);
    }
    // Both decisions are in one entry.
    let entry = holds.iter().map(|hold| hold.command.clone()).collect();
    let answers = shards.stories[0].entry(entry);
    let mut replays = Vec::new();
    for ((coordinator, hold), answer) in coordinators.iter_mut().zip(&holds).zip(answers) {
        match coordinator.on_answer(hold.number, answer).end {
            Some(End::Outcome(Ok(Success::Reserved { replayed, .. }))) => replays.push(replayed),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(replays, [false, true]);
    // A third decision, asked without an entry, is not the first either.
    let again = shards.stories[0].ledger.preview(START_MS, &holds[0].command);
    let Some(Ok(Success::Order { reply, .. })) = again else {
        panic!("{again:?}");
    };
    assert!(matches!(reply, OrderReply::DecidedBefore(_)), "{reply:?}");
}
