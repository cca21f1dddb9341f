//! Tests of forgetting: reservations, orders, transfers and operations leave separate queues, each with its
//! own budget per entry. Every state on the way is right.

use super::*;

const HOUR_MS: u64 = 3_600_000;

/// Applies empty entries until nothing is due any more. After each, checks the ledger and decodes it from
/// its bytes.
fn forget_all(story: &mut Story) -> usize {
    let mut entries = 0;
    loop {
        story.wait(0);
        entries += 1;
        let bytes = story.ledger.encode();
        let again = Ledger::decode(&bytes).unwrap();
        assert_eq!(again.digest(), story.ledger.digest());
        assert!(entries < 1_000, "it is never done");
        match story.ledger.next_due_ms() {
            Some(due_ms) if due_ms <= story.now_ms() => {}
            _ => return entries,
        }
    }
}

/// Makes holds, and releases them in later entries.
fn released_holds(story: &mut Story, count: usize) -> Vec<Command> {
    let hold = |story: &mut Story| {
        story.reserve_command(vec![line("tea", 1, Source::Any)], ReserveMode::AllOrNothing)
    };
    let holds: Vec<Command> = (0..count).map(|_| hold(story)).collect();
    for some in holds.chunks(500) {
        assert!(story.entry(some.to_vec()).iter().all(Result::is_ok));
        let release = |command: &Command| Action::Release {
            reservation_id: command.operation_id,
        };
        let releases = some.iter().map(release).collect::<Vec<_>>();
        let releases = releases.into_iter().map(|action| story.command(action)).collect();
        assert!(story.entry(releases).iter().all(Result::is_ok));
    }
    holds
}

#[test]
fn thousands_of_released_holds_are_forgotten_after_a_quiet_day_and_no_state_on_the_way_is_wrong() {
    let mut story = Story::new();
    story.receive("tea", "east", 100).unwrap();
    for _ in 0..40 {
        released_holds(&mut story, 100);
        story.wait(1_000);
    }
    story.later(25 * HOUR_MS);
    let entries = forget_all(&mut story);
    assert!(
        entries >= 4,
        "4,000 reservations and 8,000 ids in {entries} entries"
    );
    assert_eq!(story.ledger.reservations.iter().count(), 0);
    assert_eq!(story.ledger.operations.len(), 0);
}

#[test]
fn a_reserve_whose_reservation_was_forgotten_first_is_refused_as_too_old() {
    let mut story = Story::new();
    story.receive("tea", "east", 2_000).unwrap();
    // The ids of these are forgotten first. They fill the budget of several entries.
    let arrivals = (0..3_000).map(|_| Action::Adjust {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        delta: 1,
    });
    let arrivals = arrivals.collect::<Vec<_>>();
    let arrivals = arrivals.into_iter().map(|action| story.command(action)).collect();
    story.entry(arrivals);
    let holds = released_holds(&mut story, 500);
    story.wait(25 * HOUR_MS);
    let reserve = &holds[0];
    assert_eq!(story.state(reserve.operation_id), None);
    assert!(story.ledger.operations.knows(&reserve.operation_id));
    assert!(matches!(
        story.send(reserve),
        Err(Refusal::OperationIdTooOld { .. })
    ));
    let record = story
        .ledger
        .operations
        .iter()
        .find(|(id, _)| **id == reserve.operation_id);
    let record = *record.unwrap().1;
    assert!(
        matches!(
            story.ledger.replay(reserve, record),
            Ok(Err(Refusal::OperationIdTooOld { .. }))
        ),
        "even where the age of the id is not looked at"
    );
    forget_all(&mut story);
    assert!(matches!(
        story.send(reserve),
        Err(Refusal::OperationIdTooOld { .. })
    ));
}

#[test]
fn an_operation_within_the_window_still_needs_its_reservation() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    let id = story.hold("tea", 1);
    story.act(Action::Release { reservation_id: id }).unwrap();
    let mut ledger = story.ledger.clone();
    let options = ledger.options.clone();
    ledger.reservations.remove(&id, &options);
    let violation = ledger.check().unwrap_err();
    assert!(violation.0.contains("made a reservation"), "{violation}");
}

/// Covers transfers, tombstones, and orders over several shards with all ends: undecided, aborted, expired,
/// committed.
#[test]
fn orders_tombstones_and_transfers_are_forgotten_after_a_leap_of_log_time_and_no_state_on_the_way_is_wrong() {
    let mut story = Story::new();
    story.receive("tea", "east", 100_000).unwrap();
    released_holds(&mut story, 1_500);
    let transfers = (0..1_500).map(|_| Action::TransferOut {
        lines: vec![TransferLine {
            sku: sku("tea"),
            quantity: 1,
        }],
        from: warehouse("east"),
        to: warehouse("west"),
        expected_at_ms: START_MS,
    });
    let transfers: Vec<Action> = transfers.collect();
    let transfers: Vec<Command> = transfers
        .into_iter()
        .map(|action| story.command(action))
        .collect();
    assert!(story.entry(transfers.clone()).iter().all(Result::is_ok));
    let arrivals = transfers.iter().map(|command| Action::TransferIn {
        transfer_id: command.operation_id,
        lines: vec![],
        disposition: Disposition::Restock,
    });
    let arrivals: Vec<Action> = arrivals.collect();
    let arrivals = arrivals.into_iter().map(|action| story.command(action)).collect();
    assert!(story.entry(arrivals).iter().all(Result::is_ok));
    let orders: Vec<Command> = (0..1_500).map(|_| begin(&mut story)).collect();
    let begun = story.entry(orders.clone());
    assert!(begun.iter().all(Result::is_ok));
    let decisions = orders.iter().zip(&begun).enumerate();
    let decisions = decisions.filter_map(|(number, (order, begun))| decide(number, order, begun));
    let decisions: Vec<Command> = decisions.collect();
    assert!(story.entry(decisions).iter().all(Result::is_ok));
    let tombstones = (0..1_500).map(|_| {
        Action::Order(OrderStep::Inquire {
            shard: 1,
            attempt: 1,
            incarnation: 7,
        })
    });
    let tombstones: Vec<Action> = tombstones.collect();
    let tombstones = tombstones
        .into_iter()
        .map(|action| story.command(action))
        .collect();
    assert!(story.entry(tombstones).iter().all(Result::is_ok));

    // The held orders expire in the first entries. The others follow only after all decisions.
    story.later(25 * HOUR_MS);
    forget_all(&mut story);
    let acknowledgements = orders.iter().map(|order| acknowledge(&story, order));
    let acknowledgements: Vec<Acknowledgement> = acknowledgements.flatten().collect();
    assert!(acknowledgements.len() >= 1_000, "{}", acknowledgements.len());
    let acknowledge = story.command(Action::Order(OrderStep::Acknowledge(acknowledgements)));
    story.send(&acknowledge).unwrap();
    for _ in 0..4 {
        story.later(25 * HOUR_MS);
        forget_all(&mut story);
    }
    assert_eq!(story.ledger.orders.map().iter().count(), 0);
    assert_eq!(story.ledger.transfers.map().len(), 0);
    assert_eq!(story.ledger.reservations.iter().count(), 0);
    assert_eq!(story.ledger.operations.len(), 0);
}

/// Begins an order over this shard, which is its home, and shard 1.
fn begin(story: &mut Story) -> Command {
    let terms = OrderTerms {
        fingerprint: 1,
        storefront: storefront("web"),
        ttl_ms: 60_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    };
    let part = OrderPart {
        lines: vec![OrderLine {
            number: 0,
            line: line("tea", 1, Source::Any),
        }],
    };
    story.command(Action::Order(OrderStep::Begin {
        attempt: 1,
        home: 0,
        participants: vec![0, 1],
        part: Some(part),
        terms,
    }))
}

/// Holds a third of the orders, aborts a third, and leaves the rest undecided.
fn decide(number: usize, order: &Command, begun: &Outcome) -> Option<Command> {
    let Ok(Success::Order {
        reply: OrderReply::Begun { part: Some(part), .. },
        ..
    }) = begun
    else {
        panic!("{begun:?}")
    };
    let decision = match number % 3 {
        0 => Decision::Hold {
            incarnations: [(0, part.incarnation), (1, 7)].into(),
        },
        1 => Decision::Abort,
        _ => return None,
    };
    Some(Command {
        action: Action::Order(OrderStep::Decide { attempt: 1, decision }),
        ..order.clone()
    })
}

fn acknowledge(story: &Story, order: &Command) -> Option<Acknowledgement> {
    let reservation_id = order.operation_id;
    let order = story.ledger.orders.get(&reservation_id)?;
    order.unacknowledged.first().map(|shard| Acknowledgement {
        reservation_id,
        shard: *shard,
        attempt: 1,
        version: order.version(),
    })
}
