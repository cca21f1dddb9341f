//! Tests of sales beyond stock.

use super::*;

/// Lets web take `backorder_limit` units of tea beyond stock, and `preorder_limit` until `preorder_until_ms`.
fn let_backorder(story: &mut Story, backorder_limit: i64, preorder_limit: i64, preorder_until_ms: u64) {
    let action = Action::SetPolicy {
        sku: sku("tea"),
        storefront: storefront("web"),
        may_borrow: true,
        max_per_reservation: 0,
        backorder_limit,
        preorder_limit,
        preorder_until_ms,
    };
    story.act(action).unwrap();
}

fn ship(reservation_id: ReservationId, quantity: i64) -> Action {
    Action::Ship {
        reservation_id,
        lines: vec![LineQuantity {
            line: 0,
            quantity,
            warehouse: None,
        }],
    }
}

fn refused_with(outcome: &Outcome, available: i64) -> bool {
    matches!(outcome, Err(Refusal::InsufficientStock(all)) if all[0].available == available)
}

#[test]
fn a_backorder_is_granted_up_to_its_limit_over_all_warehouses_and_says_so() {
    let mut story = Story::new();
    story.receive("tea", "east", 2).unwrap();
    story.receive("tea", "west", 1).unwrap();
    let_backorder(&mut story, 4, 0, 0);
    let command = story.reserve_command(vec![line("tea", 5, Source::Any)], ReserveMode::AllOrNothing);
    let Ok(Success::Reserved { lines, .. }) = story.send(&command) else {
        panic!()
    };
    let allocation = |at: &str, from_free, from_backorder, reason| Allocation {
        warehouse: warehouse(at),
        from_pool: 0,
        from_free,
        from_backorder,
        reason,
    };
    let expected = [
        allocation("east", 2, 2, SourcingReason::MostAvailable),
        allocation("west", 1, 0, SourcingReason::SpillOver),
    ];
    assert_eq!(lines[0].allocations, expected);
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.free, cell.held, cell.backordered),
        (2, 0, 4, 2)
    );
    let three = story.reserve_command(vec![line("tea", 3, Source::Any)], ReserveMode::AllOrNothing);
    assert!(refused_with(&story.send(&three), 2));
    story.hold("tea", 2);
    assert_eq!(story.cell("tea", "east").backordered, 4);
}

#[test]
fn what_becomes_sellable_is_first_for_those_who_wait() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    let_backorder(&mut story, 9, 0, 0);
    let first = story.hold("tea", 1);
    story.hold("tea", 5);
    assert_eq!(story.cell("tea", "east").backordered, 5);
    story.receive("tea", "east", 2).unwrap();
    assert_eq!(story.cell("tea", "east").backordered, 3);
    story
        .act(Action::Release {
            reservation_id: first,
        })
        .unwrap();
    assert_eq!(story.cell("tea", "east").backordered, 2);
    story.count("tea", "east", 4, None).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.backordered, cell.free, cell.on_hand), (1, 0, 4));
    story.receive("tea", "east", 3).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.backordered, cell.free, cell.on_hand, cell.held),
        (0, 2, 7, 5)
    );
}

#[test]
fn a_recount_that_finds_less_is_a_deficit_beside_the_backorder_and_is_filled_first() {
    let mut story = Story::new();
    story.receive("tea", "east", 3).unwrap();
    let_backorder(&mut story, 9, 0, 0);
    story.hold("tea", 5);
    story.count("tea", "east", 1, None).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.deficit, cell.backordered, cell.held), (2, 2, 5));
    story.receive("tea", "east", 3).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.deficit, cell.backordered), (0, 1));
}

#[test]
fn what_is_backordered_ships_only_when_it_is_there_and_never_from_ring_fenced_stock() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    story.pool("tea", "east", "app", 3).unwrap();
    let (tea, east) = (sku("tea"), warehouse("east"));
    let safety = Action::MoveBucket {
        sku: tea,
        warehouse: east,
        from: Bucket::Free,
        to: Bucket::Safety,
        quantity: 2,
    };
    story.act(safety).unwrap();
    let_backorder(&mut story, 9, 0, 0);
    let id = story.hold("tea", 2);
    story.commit(id).unwrap();
    assert!(refused_with(&story.act(ship(id, 1)), 0));
    story.receive("tea", "east", 1).unwrap();
    assert!(refused_with(&story.act(ship(id, 2)), 1));
    story.act(ship(id, 1)).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (
            cell.on_hand,
            cell.pools[0].quantity,
            cell.safety,
            cell.backordered
        ),
        (5, 3, 2, 1)
    );
}

/// App's pool has 3 units, of which 2 are held. Web has backordered 2.
fn ring_fenced() -> (Story, ReservationId, ReservationId) {
    let mut story = Story::new();
    story.receive("tea", "east", 3).unwrap();
    story.pool("tea", "east", "app", 3).unwrap();
    let_backorder(&mut story, 2, 0, 0);
    let of_app = story.command(Action::Reserve {
        storefront: storefront("app"),
        lines: vec![line("tea", 2, Source::Any)],
        ttl_ms: 1_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    });
    story.send(&of_app).unwrap();
    let waiting = story.hold("tea", 2);
    assert_eq!(story.cell("tea", "east").backordered, 2);
    (story, of_app.operation_id, waiting)
}

#[test]
fn a_hold_that_ends_gives_its_pool_back_and_not_to_those_who_wait() {
    let (mut story, _, _) = ring_fenced();
    story.wait(1_000);
    let cell = story.cell("tea", "east");
    assert_eq!((cell.pools[0].quantity, cell.backordered, cell.held), (3, 2, 2));
}

#[test]
fn a_pool_does_not_get_back_what_was_shipped_to_others() {
    let (mut story, _, waiting) = ring_fenced();
    story.commit(waiting).unwrap();
    story.act(ship(waiting, 1)).unwrap();
    story.wait(1_000);
    let cell = story.cell("tea", "east");
    assert_eq!(
        (
            cell.on_hand,
            cell.pools[0].quantity,
            cell.backordered,
            cell.committed
        ),
        (2, 2, 1, 1)
    );
}

#[test]
fn a_pool_that_shrinks_and_goods_that_are_repaired_fill_the_backorder() {
    let (mut story, ..) = ring_fenced();
    story.pool("tea", "east", "app", 0).unwrap();
    assert_eq!(story.cell("tea", "east").backordered, 1);
    let back = Action::Return {
        of: ReturnOf::Unreferenced {
            sku: sku("tea"),
            warehouse: warehouse("east"),
            quantity: 3,
        },
        disposition: Disposition::Damaged,
    };
    story.act(back).unwrap();
    let repaired = |to, quantity| Action::MoveBucket {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        from: Bucket::Damaged,
        to,
        quantity,
    };
    story.act(repaired(Bucket::Safety, 1)).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.safety, cell.backordered),
        (1, 1),
        "safety stock is kept back"
    );
    story.act(repaired(Bucket::Free, 2)).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.free, cell.backordered), (1, 0));
}

#[test]
fn a_preorder_has_its_own_limit_until_its_date() {
    let mut story = Story::new();
    let expect = Action::ExpectSupply {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        supply_id: SupplyId::new("po-1").unwrap(),
        quantity: 100,
        expected_at_ms: START_MS + 9_000,
    };
    story.act(expect).unwrap();
    let_backorder(&mut story, 1, 5, START_MS + 1_000);
    let too_many = story.reserve_command(vec![line("tea", 6, Source::Any)], ReserveMode::AllOrNothing);
    assert!(refused_with(&story.send(&too_many), 5));
    story.hold("tea", 5);
    story.later(999);
    let one = vec![line("tea", 1, Source::Any)];
    let one_more = story.reserve_command(one.clone(), ReserveMode::AllOrNothing);
    assert!(refused_with(&story.send(&one_more), 0));
    story.receive("tea", "east", 5).unwrap();
    story.later(1);
    story.hold("tea", 1);
    let one_more = story.reserve_command(one, ReserveMode::AllOrNothing);
    assert!(refused_with(&story.send(&one_more), 0));
}

#[test]
fn a_backorder_waits_where_the_next_supply_is_expected() {
    let mut story = Story::new();
    for (at, supply, expected_at_ms) in [("east", "po-1", START_MS + 900), ("west", "po-2", START_MS + 500)] {
        let expect = Action::ExpectSupply {
            sku: sku("tea"),
            warehouse: warehouse(at),
            supply_id: SupplyId::new(supply).unwrap(),
            quantity: 1,
            expected_at_ms,
        };
        story.act(expect).unwrap();
    }
    let_backorder(&mut story, 9, 0, 0);
    story.hold("tea", 1);
    assert_eq!(story.cell("tea", "west").backordered, 1);
    let change = story.changes.last().unwrap();
    let sourcing = change.reservation.as_ref().and_then(|effect| effect.sourcing);
    assert_eq!(sourcing, Some(SourcingReason::Backordered));
    let list = Source::Preference(vec![warehouse("north"), warehouse("east"), warehouse("west")]);
    let command = story.reserve_command(vec![line("tea", 1, list)], ReserveMode::AllOrNothing);
    story.send(&command).unwrap();
    assert_eq!(story.cell("tea", "east").backordered, 1);
}

#[test]
fn who_may_not_borrow_may_not_backorder_and_an_unknown_place_cannot_wait() {
    let mut story = Story::new();
    let_backorder(&mut story, 9, 0, 0);
    let one = vec![line("tea", 1, Source::Any)];
    let command = story.reserve_command(one.clone(), ReserveMode::AllOrNothing);
    assert!(refused_with(&story.send(&command), 0), "no warehouse knows tea");
    story.receive("tea", "east", 1).unwrap();
    let action = Action::SetPolicy {
        sku: sku("tea"),
        storefront: storefront("web"),
        may_borrow: false,
        max_per_reservation: 0,
        backorder_limit: 9,
        preorder_limit: 0,
        preorder_until_ms: 0,
    };
    story.act(action).unwrap();
    let command = story.reserve_command(one, ReserveMode::AllOrNothing);
    assert!(refused_with(&story.send(&command), 0));
}

#[test]
fn backorders_without_end_stop_at_64_bits() {
    let mut story = Story::new();
    story.receive("tea", "east", 7).unwrap();
    story.pool("tea", "east", "app", 4).unwrap();
    let_backorder(&mut story, i64::MAX, 0, 0);
    story.hold("tea", 1);
    let all = vec![line("tea", i64::MAX, Source::Any)];
    let command = story.reserve_command(all.clone(), ReserveMode::BestEffort);
    story.send(&command).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.held, cell.free), (i64::MAX - 4, 0));
    let of_app = story.command(Action::Reserve {
        storefront: storefront("app"),
        lines: all,
        ttl_ms: 1_000,
        mode: ReserveMode::BestEffort,
        sourcing: Sourcing::AsGiven,
    });
    story.send(&of_app).unwrap();
    assert_eq!(story.cell("tea", "east").held, i64::MAX);
    story.commit(command.operation_id).unwrap();
    story.wait(60_000);
    let cell = story.cell("tea", "east");
    assert_eq!((cell.pools[0].quantity, cell.committed), (4, i64::MAX - 5));
}
