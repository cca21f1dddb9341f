//! Tests of orders over several shards, with messages that arrive, get lost and come twice.

mod best_effort;
mod crashes;
mod ids;
mod replacing;
mod transfers;

use std::collections::{BTreeMap, VecDeque};

use super::*;

const TTL_MS: u64 = 60_000;

#[test]
fn a_refused_order_is_sealed_at_its_home_and_one_that_is_held_is_not() {
    let mut shards = Shards::stocked(2, 10);
    for story in &mut shards.stories {
        let rules = Rules::Second;
        story.act(Action::AdoptRules { rules }).unwrap();
    }
    let principal = || Principal::new("holdfast").unwrap();
    let held = shards.order(&["0-a", "1-a"], 4, ReserveMode::AllOrNothing);
    assert!(matches!(shards.run(&held), End::Outcome(Ok(_))));
    shards.resolve();
    for story in &mut shards.stories {
        let refused = story.send(&Command::seal(held.operation_id, principal()));
        assert_eq!(refused, Err(Refusal::OperationIdReused));
        assert!(story.view(held.operation_id).is_some(), "the units stay");
    }
    let refused = shards.order(&["0-a", "1-a"], 7, ReserveMode::AllOrNothing);
    assert!(matches!(
        shards.run(&refused),
        End::Outcome(Err(Refusal::InsufficientStock(_)))
    ));
    for story in &mut shards.stories {
        story
            .send(&Command::seal(refused.operation_id, principal()))
            .unwrap();
        story.receive("more", "w", 1).unwrap();
    }
    shards.resolve();
    for (shard, name) in [(0, "0-a"), (1, "1-a")] {
        shards.stories[shard].receive(name, "w", 100).unwrap();
    }
    let late = shards.run(&refused);
    assert!(!matches!(late, End::Outcome(Ok(_))), "{late:?}");
    assert_eq!(shards.stories[0].cell("0-a", "w").held, 4);
}

/// Some shards, and the messages between them. The digit in front of a SKU's name is its shard.
struct Shards {
    stories: Vec<Story>,
    next_id: u64,
}

fn shard_of(sku: &Sku) -> ShardNumber {
    u32::from(sku.as_str().as_bytes()[0] - b'0')
}

impl Shards {
    fn new(count: usize) -> Self {
        Self {
            stories: (0..count).map(|_| Story::by(Rules::Second)).collect(),
            next_id: 1_000_000,
        }
    }

    fn stocked(count: usize, units: i64) -> Self {
        let mut shards = Self::new(count);
        for shard in 0..count {
            shards.stories[shard]
                .receive(&format!("{shard}-a"), "w", units)
                .unwrap();
        }
        shards
    }

    fn order(&mut self, names: &[&str], quantity: i64, mode: ReserveMode) -> Command {
        self.next_id += 1;
        let lines = names
            .iter()
            .map(|name| line(name, quantity, Source::Any))
            .collect();
        Command {
            operation_id: id_at(START_MS, self.next_id),
            principal: Principal::new("tester").unwrap(),
            reference: Reference::new("order-1").unwrap(),
            reason: CallerReason::default(),
            details: Details::default(),
            action: Action::Reserve {
                storefront: storefront("web"),
                lines,
                ttl_ms: TTL_MS,
                mode,
                sourcing: Sourcing::AsGiven,
            },
        }
    }

    fn deliver(&mut self, target: &Target) -> Outcome {
        self.stories[target.shard as usize].send(&target.command)
    }

    /// Runs an order until it ends for the caller.
    fn run(&mut self, request: &Command) -> End {
        self.drive(
            Coordinator::new(request.clone(), None, shard_of)
                .unwrap()
                .unwrap(),
        )
    }

    fn drive(&mut self, mut coordinator: Coordinator) -> End {
        let mut waiting: VecDeque<Target> = coordinator.start().into();
        for _ in 0..100 {
            let Some(target) = waiting.pop_front() else {
                panic!("the coordinator waits for nothing: {coordinator:?}");
            };
            let answer = self.deliver(&target);
            let progress = coordinator.on_answer(target.number, answer);
            if let Some(end) = progress.end {
                return end;
            }
            waiting.extend(progress.send);
        }
        coordinator.give_up().end.unwrap_or(End::Unavailable(0))
    }

    /// Runs the resolvers until they have nothing more to send.
    fn resolve(&mut self) {
        for _ in 0..20 {
            let mut busy = false;
            for shard in 0..self.stories.len() {
                let work = self.stories[shard].ledger.order_work(100);
                for due in work.settle {
                    busy = true;
                    let step = OrderStep::Settle(due.settlement.clone());
                    // A part that waits for its replacement gets the settlement again.
                    match self.step(due.shard, due.reservation_id, step) {
                        Err(Refusal::Contended(_)) => continue,
                        followed => drop(followed.unwrap()),
                    }
                    let acknowledged = Acknowledgement {
                        reservation_id: due.reservation_id,
                        shard: due.shard,
                        attempt: due.settlement.attempt,
                        version: due.settlement.version,
                    };
                    let step = OrderStep::Acknowledge(vec![acknowledged]);
                    self.step(shard as u32, due.reservation_id, step).unwrap();
                }
                for due in work.inquire {
                    let step = OrderStep::Inquire {
                        shard: shard as u32,
                        attempt: due.attempt,
                        incarnation: due.incarnation,
                    };
                    let answer = self.step(due.home, due.reservation_id, step).unwrap();
                    if let Success::Order {
                        reply: OrderReply::Answered(Some(settlement)),
                        ..
                    } = answer
                    {
                        busy = true;
                        let settle = OrderStep::Settle(settlement.about(due.incarnation));
                        self.step(shard as u32, due.reservation_id, settle).unwrap();
                    }
                }
            }
            if !busy {
                return;
            }
        }
        panic!("it never comes to rest");
    }

    fn step(&mut self, shard: ShardNumber, id: ReservationId, step: OrderStep) -> Outcome {
        let command = Command {
            operation_id: id,
            principal: Principal::new("resolver").unwrap(),
            reference: Reference::default(),
            reason: CallerReason::default(),
            details: Details::default(),
            action: Action::Order(step),
        };
        self.stories[shard as usize].send(&command)
    }

    fn wait(&mut self, ms: u64) {
        for story in &mut self.stories {
            story.wait(ms);
        }
    }

    fn states(&self, id: ReservationId) -> BTreeMap<usize, ReservationState> {
        let state = |story: &Story| match story.ledger.query(&Query::Reservation { reservation_id: id }) {
            Ok(QueryReply::Reservation(view)) => view.map(|view| view.state),
            other => panic!("{other:?}"),
        };
        self.stories
            .iter()
            .enumerate()
            .filter_map(|(shard, story)| Some((shard, state(story)?)))
            .collect()
    }

    /// Returns the free, held and committed units of each shard's SKU.
    fn units(&self) -> Vec<(i64, i64, i64)> {
        (0..self.stories.len())
            .map(|shard| {
                let cell = self.stories[shard].cell(&format!("{shard}-a"), "w");
                (cell.free, cell.held, cell.committed)
            })
            .collect()
    }

    fn act(&mut self, shard: usize, action: Action) -> Outcome {
        self.next_id += 1;
        let command = Command {
            operation_id: id_at(self.stories[shard].now_ms(), self.next_id),
            principal: Principal::new("tester").unwrap(),
            reference: Reference::default(),
            reason: CallerReason::default(),
            details: Details::default(),
            action,
        };
        self.stories[shard].send(&command)
    }
}

fn granted(end: &End) -> Vec<(u32, i64)> {
    match end {
        End::Outcome(Ok(Success::Reserved { lines, .. })) => {
            lines.iter().map(|line| (line.line, line.granted)).collect()
        }
        other => panic!("not granted: {other:?}"),
    }
}

const ALL: ReserveMode = ReserveMode::AllOrNothing;

#[test]
fn an_order_over_three_shards_is_held_by_all_and_committed_by_all() {
    let mut shards = Shards::stocked(3, 10);
    let order = shards.order(&["1-a", "0-a", "2-a"], 4, ALL);
    let end = shards.run(&order);
    assert_eq!(granted(&end), [(0, 4), (1, 4), (2, 4)]);
    shards.resolve();
    let id = order.operation_id;
    let all = |state| (0..3).map(|shard| (shard, state)).collect::<BTreeMap<_, _>>();
    assert_eq!(shards.states(id), all(ReservationState::Held));
    assert_eq!(shards.units(), [(6, 4, 0); 3]);

    let elsewhere = shards.act(0, Action::Commit { reservation_id: id });
    assert_eq!(elsewhere, Err(Refusal::DecidedAtHome { home: 1 }));
    shards.act(1, Action::Commit { reservation_id: id }).unwrap();
    shards.resolve();
    assert_eq!(shards.states(id), all(ReservationState::Committed));
    assert_eq!(shards.units(), [(6, 0, 4); 3]);
}

#[test]
fn an_order_that_one_shard_cannot_fill_takes_nothing_anywhere() {
    let mut shards = Shards::stocked(2, 10);
    shards.stories[1].hold("1-a", 9);
    let order = shards.order(&["0-a", "1-a"], 2, ALL);
    let End::Outcome(Err(Refusal::InsufficientStock(shortages))) = shards.run(&order) else {
        panic!("granted");
    };
    assert_eq!(shortages.len(), 1);
    assert_eq!(
        (shortages[0].line, shortages[0].requested, shortages[0].available),
        (1, 2, 1)
    );
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0), (1, 9, 0)]);

    shards.stories[1].receive("1-a", "w", 1).unwrap();
    let again = shards.run(&order);
    assert_eq!(
        granted(&again),
        [(0, 2), (1, 2)],
        "a refused id may be decided anew"
    );
}

#[test]
fn what_a_refusing_home_does_not_know_of_is_given_back_before_the_caller_hears_of_it() {
    let mut shards = Shards::stocked(3, 10);
    shards.stories[0].hold("0-a", 10);
    let order = shards.order(&["0-a", "1-a", "2-a"], 2, ALL);
    let end = shards.run(&order);
    assert!(
        matches!(end, End::Outcome(Err(Refusal::InsufficientStock(_)))),
        "{end:?}"
    );
    // No resolver has run.
    assert_eq!(shards.units(), [(0, 10, 0), (10, 0, 0), (10, 0, 0)]);
}

#[test]
fn one_silent_shard_keeps_no_other_from_being_told_or_asked() {
    let mut shards = Shards::stocked(3, 1_000);
    for _ in 0..20 {
        let order = shards.order(&["0-a", "1-a"], 1, ALL);
        granted(&shards.run(&order));
    }
    let last = shards.order(&["0-a", "2-a"], 1, ALL);
    granted(&shards.run(&last));
    let told = shards.stories[0].ledger.order_work(5).settle;
    let to = |shard| told.iter().filter(|due| due.shard == shard).count();
    assert_eq!((to(1), to(2)), (5, 1));
    // The shard is also a participant, with units whose homes have not decided.
    for home in ["1-a"; 20].into_iter().chain(["2-a"]) {
        let order = shards.order(&[home, "0-a"], 1, ALL);
        let mut coordinator = Coordinator::new(order, None, shard_of).unwrap().unwrap();
        let prepare = coordinator.start().remove(1);
        shards.deliver(&prepare).unwrap();
    }
    let asked = shards.stories[0].ledger.order_work(5).inquire;
    let of = |home| asked.iter().filter(|due| due.home == home).count();
    assert_eq!((of(1), of(2)), (5, 1));
}

#[test]
fn a_repeated_request_is_answered_with_the_first_grant() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    let first = shards.run(&order);
    shards.wait(5_000);
    let End::Outcome(Ok(mut first)) = first else {
        panic!("refused");
    };
    let End::Outcome(Ok(second)) = shards.run(&order) else {
        panic!("refused");
    };
    if let Success::Reserved { replayed, .. } = &mut first {
        *replayed = true;
    }
    assert_eq!(first, second);
    let other = Command {
        reason: CallerReason::new("other").unwrap(),
        ..order
    };
    assert_eq!(shards.run(&other), End::Outcome(Err(Refusal::OperationIdReused)));
    assert_eq!(shards.units(), [(7, 3, 0); 2]);
}

#[test]
fn a_hold_over_two_shards_expires_in_both_and_not_early() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    granted(&shards.run(&order));
    shards.resolve();
    // The participant's time alone ends nothing.
    shards.stories[1].wait(TTL_MS * 2);
    shards.resolve();
    assert_eq!(shards.units(), [(7, 3, 0); 2]);
    shards.stories[0].wait(TTL_MS);
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0); 2]);
    let late = shards.act(
        0,
        Action::Commit {
            reservation_id: order.operation_id,
        },
    );
    assert!(matches!(late, Err(Refusal::Expired { .. })), "{late:?}");
}

#[test]
fn an_order_whose_coordinator_died_before_its_decision_is_aborted() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    let mut coordinator = Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap();
    for target in coordinator.start() {
        shards.deliver(&target).unwrap();
    }
    shards.resolve();
    assert_eq!(
        shards.units(),
        [(7, 3, 0); 2],
        "undecided: nobody gives anything back"
    );
    shards.stories[0].wait(LedgerOptions::default().order_decision_ms);
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0); 2]);
}

#[test]
fn a_home_that_is_asked_before_it_knows_aborts_and_the_order_is_tried_again() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    let mut coordinator = Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap();
    let steps = coordinator.start();
    // The Prepare has arrived, and the Begin is late.
    let prepared = shards.deliver(&steps[1]);
    coordinator.on_answer(steps[1].number, prepared);
    shards.resolve();
    assert_eq!(shards.units(), [(10, 0, 0); 2]);
    let begun = shards.deliver(&steps[0]);
    let mut waiting: VecDeque<Target> = coordinator.on_answer(steps[0].number, begun).send.into();
    let end = loop {
        let target = waiting.pop_front().unwrap();
        let answer = shards.deliver(&target);
        let progress = coordinator.on_answer(target.number, answer);
        waiting.extend(progress.send);
        if let Some(end) = progress.end {
            break end;
        }
    };
    assert_eq!(granted(&end), [(0, 3), (1, 3)]);
    shards.resolve();
    assert_eq!(shards.units(), [(7, 3, 0); 2]);
}

#[test]
fn a_prepare_that_comes_again_after_all_is_over_takes_nothing_for_good() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    let mut coordinator = Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap();
    let prepare = coordinator.start().remove(1);
    granted(&shards.run(&order));
    let id = order.operation_id;
    shards.act(0, Action::Commit { reservation_id: id }).unwrap();
    shards.resolve();
    let cancel = Action::Cancel {
        reservation_id: id,
        lines: Vec::new(),
    };
    let whole = shards.act(1, cancel.clone());
    assert_eq!(whole, Err(Refusal::OverSeveralShards { home: 0 }));
    shards.act(1, Action::OfPart(Box::new(cancel))).unwrap();
    // The participant forgets its cancelled part. The part of the home is committed, so the home remembers
    // the order.
    shards.stories[1].wait(LedgerOptions::default().closed_retention_ms + 120_000);
    shards.stories[1].wait(1);
    assert_eq!(shards.states(id).get(&1), None);
    shards.deliver(&prepare).unwrap();
    assert_eq!(shards.units(), [(7, 0, 3), (7, 3, 0)]);
    shards.resolve();
    assert_eq!(
        shards.units(),
        [(7, 0, 3), (10, 0, 0)],
        "another incarnation is never committed"
    );
}

#[test]
fn of_two_orders_that_meet_crosswise_one_gets_everything() {
    let mut shards = Shards::stocked(2, 1);
    let orders = [
        shards.order(&["0-a", "1-a"], 1, ALL),
        shards.order(&["1-a", "0-a"], 1, ALL),
    ];
    let mut coordinators: Vec<Coordinator> = orders
        .iter()
        .map(|order| Coordinator::new(order.clone(), None, shard_of).unwrap().unwrap())
        .collect();
    // Each coordinator takes its home first, and then finds the other one there.
    let mut waiting: VecDeque<(usize, Target)> = VecDeque::new();
    let starts: Vec<Vec<Target>> = coordinators.iter_mut().map(Coordinator::start).collect();
    for place in 0..2 {
        for (who, start) in starts.iter().enumerate() {
            waiting.push_back((who, start[place].clone()));
        }
    }
    let mut ends: [Option<End>; 2] = [None, None];
    for _ in 0..200 {
        let Some((who, target)) = waiting.pop_front() else {
            break;
        };
        let answer = shards.deliver(&target);
        let progress = coordinators[who].on_answer(target.number, answer);
        waiting.extend(progress.send.into_iter().map(|target| (who, target)));
        if progress.end.is_some() {
            ends[who] = progress.end;
        }
        shards.resolve();
    }
    let [Some(first), Some(second)] = ends else {
        panic!("not both came to an end: {ends:?}");
    };
    let won = |end: &End| matches!(end, End::Outcome(Ok(_)));
    assert!(won(&first) != won(&second), "{first:?} {second:?}");
    assert_eq!(shards.units(), [(0, 1, 0); 2]);
}

#[test]
fn replicas_with_orders_are_alike_and_survive_a_snapshot() {
    let mut shards = Shards::stocked(2, 10);
    let order = shards.order(&["0-a", "1-a"], 3, ALL);
    granted(&shards.run(&order));
    for story in &shards.stories {
        let bytes = story.ledger.encode();
        let decoded = Ledger::decode(&bytes).unwrap();
        assert_eq!(decoded.digest(), story.ledger.digest());
    }
}
