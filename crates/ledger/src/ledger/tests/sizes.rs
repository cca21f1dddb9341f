//! Tests of the largest commands, and of names that nobody needs.

use super::*;
use crate::limits::{
    MAX_CELL_POOLS, MAX_CHANGE_BYTES, MAX_COMMAND_CHANGES, MAX_LINES, MAX_ORDER_CELLS, MAX_PLACES,
    MAX_SOURCED_CELLS, SWEEP_PER_ENTRY, swept_changes,
};

fn place(number: usize) -> String {
    format!("w{number}")
}

/// Begins a story with one unit of `sku` in each of this many warehouses.
fn spread(rules: Rules, sku: &str, warehouses: usize) -> Story {
    let mut story = Story::by(rules);
    let receive = |number| Action::Receive {
        sku: self::sku(sku),
        warehouse: warehouse(&place(number)),
        quantity: 1,
        supply_id: None,
    };
    let commands = (0..warehouses)
        .map(|number| story.command(receive(number)))
        .collect();
    assert!(story.entry(commands).iter().all(Result::is_ok));
    story
}

/// Restores the ledger from its snapshot.
fn restart(story: &mut Story) {
    story.ledger = Ledger::decode(&story.ledger.encode()).unwrap();
}

fn limit_reached(outcome: &Outcome) -> Option<(&str, u64)> {
    match outcome {
        Err(Refusal::LimitReached { what, limit }) => Some((what.as_str(), *limit)),
        _ => None,
    }
}

#[test]
fn a_reserve_makes_no_skus_and_a_retry_is_answered_alike() {
    for rules in [Rules::First, Rules::Second] {
        let mut story = Story::by(rules);
        story.receive("tea", "east", 5).unwrap();
        let unknown = |number: usize| line(&format!("nobody-has-{number}"), 1, Source::Any);
        let mut lines: Vec<ReserveLine> = (0..MAX_LINES - 1).map(unknown).collect();
        lines.insert(500, line("tea", 2, Source::Any));
        let command = story.reserve_command(lines, ReserveMode::BestEffort);
        let Ok(Success::Reserved { lines: first, .. }) = story.send(&command) else {
            panic!("not granted");
        };
        assert_eq!(first.len(), MAX_LINES);
        assert_eq!(first[500].granted, 2);
        assert_eq!(first.iter().map(|line| line.granted).sum::<i64>(), 2);
        let Ok(Success::Reserved {
            lines: again,
            replayed,
            ..
        }) = story.send(&command)
        else {
            panic!("not replayed");
        };
        assert!(replayed);
        assert_eq!(again, first);
        let known = story.ledger.stock.skus.len();
        assert_eq!(known, if rules == Rules::First { MAX_LINES } else { 1 });
        // A refused command leaves nothing behind.
        let command = story.reserve_command(vec![unknown(9999)], ReserveMode::BestEffort);
        assert!(story.send(&command).is_err());
        assert_eq!(story.ledger.stock.skus.len(), known);
        restart(&mut story);
    }
}

#[test]
fn one_warehouse_or_storefront_more_than_the_limit_is_refused_and_those_that_are_there_stay() {
    let mut story = spread(Rules::Second, "tea", MAX_PLACES);
    let refused = story.receive("tea", "one-more", 1);
    assert_eq!(limit_reached(&refused), Some(("warehouses", MAX_PLACES as u64)));
    story.receive("tea", &place(7), 1).unwrap();
    let pool = |number| Action::AllocatePool {
        sku: sku("tea"),
        warehouse: warehouse(&place(7)),
        storefront: storefront(&place(number)),
        target: 0,
    };
    let commands = (0..MAX_PLACES)
        .map(|number| story.command(pool(number)))
        .collect();
    assert!(story.entry(commands).iter().all(Result::is_ok));
    let refused = story.act(pool(MAX_PLACES));
    assert_eq!(limit_reached(&refused), Some(("storefronts", MAX_PLACES as u64)));
    // A shard that had more names when it adopted the rules keeps them.
    let mut story = spread(Rules::First, "tea", MAX_PLACES + 2);
    story.act(Action::AdoptRules { rules: Rules::Second }).unwrap();
    story.receive("tea", &place(MAX_PLACES + 1), 1).unwrap();
    assert!(story.receive("tea", "one-more", 1).is_err());
    restart(&mut story);
    assert!(story.receive("tea", "one-more", 1).is_err());
}

#[test]
fn a_cell_gets_no_new_pool_beyond_the_limit_and_those_that_are_there_change_and_come_back() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 10_000).unwrap();
    let shop = |number: usize| format!("shop-{number:04}");
    for number in 0..MAX_CELL_POOLS {
        story.pool("tea", "east", &shop(number), 2).unwrap();
    }
    let reached = Some(("pools of a cell", MAX_CELL_POOLS as u64));
    assert_eq!(limit_reached(&story.pool("tea", "east", "one-more", 1)), reached);
    story.pool("tea", "east", &shop(7), 5).unwrap();
    // All units of a pool are held, so the cell may get another pool. The held units come back nevertheless.
    let command = story.command(Action::Reserve {
        storefront: storefront(&shop(7)),
        lines: vec![line("tea", 5, Source::Any)],
        ttl_ms: 1_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    });
    story.send(&command).unwrap();
    story.pool("tea", "east", "one-more", 1).unwrap();
    story
        .act(Action::Release {
            reservation_id: command.operation_id,
        })
        .unwrap();
    assert_eq!(story.cell("tea", "east").pools.len(), MAX_CELL_POOLS + 1);
    assert_eq!(limit_reached(&story.pool("tea", "east", "two-more", 1)), reached);
    // One command drains all of them, with one change for each.
    let free = story.cell("tea", "east").free;
    let before = story.ledger.last_seq();
    let taken = free + 2 * 255 + 5 + 1;
    story.count("tea", "east", 10_000 - taken, None).unwrap();
    assert_eq!(story.ledger.last_seq() - before, MAX_CELL_POOLS as u64 + 1);
    assert_eq!(story.cell("tea", "east").pools, []);
    restart(&mut story);
    // The first rules had no such limit.
    let mut first = Story::by(Rules::First);
    first.receive("tea", "east", 10_000).unwrap();
    for number in 0..=MAX_CELL_POOLS {
        first.pool("tea", "east", &shop(number), 2).unwrap();
    }
}

#[test]
fn an_order_from_more_cells_than_the_limit_is_refused_before_it_takes_any() {
    let mut story = spread(Rules::Second, "tea", MAX_PLACES);
    story.receive("milk", "w0", 1).unwrap();
    let all = MAX_PLACES as i64;
    let lines = vec![line("tea", all, Source::Any), line("milk", 1, Source::Any)];
    let before = story.changes.len();
    let command = story.reserve_command(lines, ReserveMode::AllOrNothing);
    let outcome = story.send(&command);
    assert_eq!(
        limit_reached(&outcome),
        Some(("cells that one order takes units from", MAX_ORDER_CELLS as u64))
    );
    assert_eq!(story.changes.len(), before);
    let command = story.reserve_command(vec![line("tea", all, Source::Any)], ReserveMode::AllOrNothing);
    assert_eq!(story.ledger.weigh(&command, |_| 1), MAX_ORDER_CELLS);
    story.send(&command).unwrap();
    assert_eq!(story.changes.len() - before, MAX_ORDER_CELLS);
}

#[test]
fn an_order_that_would_look_at_too_many_cells_is_refused_unless_it_names_its_warehouses() {
    let skus: Vec<String> = (0..=MAX_SOURCED_CELLS / MAX_PLACES)
        .map(|sku| format!("tea-{sku}"))
        .collect();
    let mut story = spread(Rules::Second, &skus[0], MAX_PLACES);
    for sku in &skus[1..] {
        let receive = |number| Action::Receive {
            sku: self::sku(sku),
            warehouse: warehouse(&place(number)),
            quantity: 1,
            supply_id: None,
        };
        let commands = (0..MAX_PLACES)
            .map(|number| story.command(receive(number)))
            .collect();
        assert!(story.entry(commands).iter().all(Result::is_ok));
    }
    let order = |story: &mut Story, skus: &[String], source: Source| {
        let lines = skus.iter().map(|sku| line(sku, 1, source.clone())).collect();
        let command = story.reserve_command(lines, ReserveMode::AllOrNothing);
        story.send(&command)
    };
    let refused = order(&mut story, &skus, Source::Any);
    let (what, limit) = limit_reached(&refused).unwrap();
    assert!(
        what.contains("name the warehouses") && limit == MAX_SOURCED_CELLS as u64,
        "{what}"
    );
    order(&mut story, &skus[1..], Source::Any).unwrap();
    order(&mut story, &skus, Source::Warehouse(warehouse(&place(7)))).unwrap();
    order(
        &mut story,
        &skus,
        Source::Preference(vec![warehouse(&place(8)), warehouse(&place(9))]),
    )
    .unwrap();
}

#[test]
fn no_command_makes_more_changes_than_it_was_weighed_at_and_no_change_is_larger_than_the_bound() {
    let mut story = spread(Rules::Second, "tea", MAX_PLACES);
    let run = |story: &mut Story, command: Command| {
        let weight = story.ledger.weigh(&command, |_| 1);
        let before = story.changes.len();
        let outcome = story.send(&command);
        assert!(outcome.is_ok(), "{outcome:?}");
        let made = story.changes.len() - before;
        assert!(
            made <= weight,
            "{made} changes, weighed at {weight}: {:?}",
            command.action
        );
        assert!(weight <= MAX_COMMAND_CHANGES, "{weight}");
        made
    };
    let lines = vec![line("tea", MAX_PLACES as i64, Source::Any)];
    let order = story.reserve_command(lines, ReserveMode::AllOrNothing);
    let reservation_id = order.operation_id;
    assert_eq!(run(&mut story, order), MAX_ORDER_CELLS);
    for action in [
        Action::Extend {
            reservation_id,
            ttl_ms: 1000,
        },
        Action::Commit { reservation_id },
        Action::Ship {
            reservation_id,
            lines: Vec::new(),
        },
        Action::Return {
            of: ReturnOf::Reservation {
                reservation_id,
                lines: Vec::new(),
            },
            disposition: Disposition::Restock,
        },
    ] {
        let extends = matches!(action, Action::Extend { .. });
        let command = story.command(action);
        let made = run(&mut story, command);
        assert_eq!(made, if extends { 1 } else { MAX_ORDER_CELLS });
    }
    let lines = (0..MAX_PLACES)
        .map(|_| line("tea", 1, Source::Any))
        .take(MAX_LINES)
        .collect();
    let order = story.reserve_command(lines, ReserveMode::BestEffort);
    run(&mut story, order);
    // The command takes from every pool of a cell. There are more pools than the limit after units have gone
    // back to where they were taken from.
    story.receive("milk", "w0", MAX_PLACES as i64).unwrap();
    let (mut commands, mut holds) = (Vec::new(), Vec::new());
    for number in 0..MAX_PLACES - 1 {
        let whose = storefront(&place(number));
        commands.push(story.command(Action::AllocatePool {
            sku: sku("milk"),
            warehouse: warehouse("w0"),
            storefront: whose.clone(),
            target: 1,
        }));
        let hold = story.command(Action::Reserve {
            storefront: whose,
            lines: vec![line("milk", 1, Source::Any)],
            ttl_ms: 60_000,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        });
        holds.push(hold.operation_id);
        commands.push(hold);
    }
    assert!(story.entry(commands).iter().all(Result::is_ok));
    let release = |reservation_id: &ReservationId| Action::Release {
        reservation_id: *reservation_id,
    };
    let releases = holds.iter().map(|hold| story.command(release(hold))).collect();
    assert!(story.entry(releases).iter().all(Result::is_ok));
    assert_eq!(story.cell("milk", "w0").pools.len(), MAX_PLACES - 1);
    let adjust = Action::Adjust {
        sku: sku("milk"),
        warehouse: warehouse("w0"),
        delta: -(MAX_PLACES as i64),
    };
    let command = story.command(adjust);
    let made = run(&mut story, command);
    assert_eq!(made, MAX_PLACES - 1);
    let largest = story
        .changes
        .iter()
        .map(|change| encode_changes(std::slice::from_ref(change)).len());
    assert!(largest.max().unwrap() <= MAX_CHANGE_BYTES);
}

#[test]
fn a_change_with_every_name_as_long_as_it_may_be_is_within_the_bound() {
    let moves = |bucket| BucketMove {
        bucket,
        delta: i64::MIN,
        after: i64::MAX,
    };
    let buckets = [
        Bucket::OnHand,
        Bucket::Free,
        Bucket::Pool,
        Bucket::Safety,
        Bucket::Held,
        Bucket::Committed,
        Bucket::Damaged,
        Bucket::QualityHold,
        Bucket::Deficit,
        Bucket::Backordered,
        Bucket::InTransit,
    ];
    let id = id_at(START_MS, 1);
    let long = |bytes: usize| "n".repeat(bytes);
    let place = warehouse(&long(WarehouseId::MAX_BYTES));
    let change = Change {
        seq: u64::MAX,
        entry_changes: u32::MAX,
        entry_offset: u32::MAX,
        log_index: u64::MAX,
        log_time_ms: u64::MAX,
        kind: ChangeKind::TransferClosed,
        sku: Some(sku(&"ö".repeat(Sku::MAX_BYTES / 2))),
        warehouse: Some(place.clone()),
        storefront: Some(storefront(&long(StorefrontId::MAX_BYTES))),
        moves: buckets.into_iter().map(moves).collect(),
        reservation: Some(ReservationEffect {
            reservation_id: id,
            line: u32::MAX,
            state: ReservationState::Returned,
            expires_at_ms: u64::MAX,
            requested: i64::MIN,
            quantity: i64::MIN,
            home: Some(u32::MAX),
            sourcing: Some(SourcingReason::Backordered),
        }),
        policy: Some(Box::new(PolicyEffect {
            may_borrow: true,
            max_per_reservation: i64::MIN,
            backorder_limit: i64::MIN,
            preorder_limit: i64::MIN,
            preorder_until_ms: u64::MAX,
        })),
        transfer: Some(Box::new(TransferEffect {
            transfer_id: id,
            from: place.clone(),
            to: place,
            expected_at_ms: u64::MAX,
            quantity: i64::MIN,
            in_transit: i64::MIN,
        })),
        supply: Some(Box::new(SupplyEffect {
            supply_id: SupplyId::new(long(SupplyId::MAX_BYTES)).unwrap(),
            quantity: i64::MIN,
            expected_at_ms: u64::MAX,
        })),
        cause: Cause {
            operation_id: Some(id),
            principal: Some(Principal::new(long(Principal::MAX_BYTES)).unwrap()),
            reason: CallerReason::new(long(CallerReason::MAX_BYTES)).unwrap(),
            reference: Reference::new(long(Reference::MAX_BYTES)).unwrap(),
            occurred_at_ms: Some(u64::MAX),
        },
    };
    let bytes = encode_changes(&[change]).len();
    assert!((800..=MAX_CHANGE_BYTES).contains(&bytes), "{bytes}");
}

#[test]
fn holds_that_end_at_once_end_over_several_entries_and_each_is_within_the_bound() {
    let mut story = Story::by(Rules::Second);
    let stock: Vec<Action> = (0..MAX_LINES)
        .map(|number| Action::Receive {
            sku: sku(&place(number)),
            warehouse: warehouse("east"),
            quantity: 1_000_000,
            supply_id: None,
        })
        .collect();
    let stock = stock.into_iter().map(|action| story.command(action)).collect();
    story.entry(stock);
    for _ in 0..20 {
        let lines = (0..MAX_LINES)
            .map(|number| line(&place(number), 1, Source::Any))
            .collect();
        let command = story.reserve_command(lines, ReserveMode::AllOrNothing);
        story.send(&command).unwrap();
    }
    story.later(3_600_000);
    let mut ended = 0;
    while story
        .ledger
        .next_due_ms()
        .is_some_and(|due_ms| due_ms <= story.now_ms())
        && ended < 20 * MAX_LINES
    {
        let before = story.changes.len();
        story.entry(Vec::new());
        let made = story.changes.len() - before;
        assert!((1..=swept_changes(0)).contains(&made));
        assert!(made <= SWEEP_PER_ENTRY + MAX_LINES);
        ended += made;
    }
    assert_eq!(ended, 20 * MAX_LINES);
}
