//! Tests of deaths at each step of an order: the rows of the table in `docs/orders.md`.

use super::*;

/// Begins an order for 3 units in each of two shards of 10. Returns its coordinator and the first steps:
/// Begin, then Prepare.
fn begun() -> (Shards, Command, Coordinator, Vec<Target>) {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    let mut coordinator = Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap();
    let steps = coordinator.start();
    (shards, order, coordinator, steps)
}

/// Goes on until both shards have prepared and the coordinator has sent its decision.
fn prepared() -> (Shards, Command, Coordinator, Target) {
    let (mut shards, order, mut coordinator, steps) = begun();
    let mut send = Vec::new();
    for step in &steps {
        let answer = shards.deliver(step);
        send = coordinator.on_answer(step.number, answer).send;
    }
    let [decide] = send.try_into().unwrap();
    (shards, order, coordinator, decide)
}

const NOTHING_TAKEN: [(i64, i64, i64); 2] = [(10, 0, 0); 2];
const HELD: [(i64, i64, i64); 2] = [(7, 3, 0); 2];

#[test]
fn an_order_that_only_its_home_knows_is_aborted_by_time() {
    let (mut shards, _, _, steps) = begun();
    shards.deliver(&steps[0]).unwrap();
    shards.resolve();
    assert_eq!(shards.units(), [(7, 3, 0), (10, 0, 0)]);
    shards.stories[0].wait(LedgerOptions::default().order_decision_ms);
    shards.resolve();
    assert_eq!(shards.units(), NOTHING_TAKEN);
}

#[test]
fn a_part_of_an_order_that_its_home_does_not_know_is_given_back_and_a_retry_succeeds() {
    let (mut shards, order, _, steps) = begun();
    shards.deliver(&steps[1]).unwrap();
    shards.resolve();
    assert_eq!(shards.units(), NOTHING_TAKEN);
    granted(&shards.run(&order));
    shards.resolve();
    assert_eq!(shards.units(), HELD);
}

#[test]
fn a_hold_whose_coordinator_died_after_the_decision_is_everywhere_and_the_retry_is_told_of_it() {
    let (mut shards, order, _, decide) = prepared();
    shards.deliver(&decide).unwrap();
    shards.resolve();
    assert_eq!(shards.units(), HELD);
    let End::Outcome(Ok(Success::Reserved { replayed, .. })) = shards.run(&order) else {
        panic!("refused");
    };
    assert!(replayed);
    assert_eq!(shards.units(), HELD);
}

#[test]
fn a_decision_to_hold_that_comes_after_the_abort_holds_nothing() {
    let (mut shards, order, _, decide) = prepared();
    shards.stories[0].wait(LedgerOptions::default().order_decision_ms);
    let late = shards.deliver(&decide).unwrap();
    let aborted = OrderReply::DecidedBefore(Standing::Aborted { attempt: 1 });
    assert!(matches!(late, Success::Order { reply, .. } if reply == aborted));
    shards.resolve();
    assert_eq!(shards.units(), NOTHING_TAKEN);
    granted(&shards.run(&order));
    shards.resolve();
    assert_eq!(shards.units(), HELD, "the next attempt is another one");
}

#[test]
fn of_two_coordinators_of_one_order_the_first_decision_wins() {
    let (mut shards, order, mut first, decide) = prepared();
    let mut second = Coordinator::new(order, None, shard_of).unwrap().unwrap();
    for step in second.start() {
        shards.deliver(&step).unwrap();
    }
    let [abort] = second.give_up().send.try_into().unwrap();
    let held = shards.deliver(&decide);
    granted(&first.on_answer(decide.number, held).end.unwrap());
    shards.deliver(&abort).unwrap();
    shards.resolve();
    assert_eq!(shards.units(), HELD);
}

#[test]
fn a_participant_that_was_away_follows_a_commit_whatever_its_own_clock_says() {
    let (mut shards, order, _, decide) = prepared();
    let id = order.operation_id;
    shards.deliver(&decide).unwrap();
    shards.act(0, Action::Commit { reservation_id: id }).unwrap();
    shards.stories[1].wait(2 * TTL_MS);
    assert_eq!(shards.units(), [(7, 0, 3), (7, 3, 0)]);
    shards.resolve();
    assert_eq!(shards.units(), [(7, 0, 3); 2]);
}

#[test]
fn a_settlement_is_due_until_it_is_acknowledged_and_followed_once() {
    let (mut shards, order, _, decide) = prepared();
    let id = order.operation_id;
    shards.deliver(&decide).unwrap();
    let due = |shards: &Shards| shards.stories[0].ledger.order_work(10).settle;
    let [first] = due(&shards).try_into().unwrap();
    for _ in 0..2 {
        // The acknowledgement is lost.
        let settle = OrderStep::Settle(first.settlement.clone());
        shards.step(1, id, settle).unwrap();
        assert_eq!(due(&shards), std::slice::from_ref(&first));
        assert_eq!(shards.units(), HELD);
    }
    let acknowledgement = Acknowledgement {
        reservation_id: id,
        shard: 1,
        attempt: first.settlement.attempt,
        version: first.settlement.version,
    };
    shards
        .step(0, id, OrderStep::Acknowledge(vec![acknowledgement]))
        .unwrap();
    assert_eq!(due(&shards), []);
}
