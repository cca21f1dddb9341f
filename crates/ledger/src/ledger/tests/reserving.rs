//! Tests of the choice of the units that a buyer gets.

use super::*;

fn granted(outcome: Outcome) -> Vec<GrantedLine> {
    match outcome {
        Ok(Success::Reserved { lines, .. }) => lines,
        other => panic!("{other:?}"),
    }
}

fn taken(line: &GrantedLine) -> Vec<(&str, i64, i64)> {
    line.allocations
        .iter()
        .map(|a| (a.warehouse.as_str(), a.from_pool, a.from_free))
        .collect()
}

impl Story {
    fn reserve(&mut self, lines: Vec<ReserveLine>, mode: ReserveMode) -> Outcome {
        let command = self.reserve_command(lines, mode);
        self.send(&command)
    }
}

/// Stocks tea: 3 in north, 5 in east, 5 in west.
fn stocked() -> Story {
    let mut story = Story::new();
    for (at, quantity) in [("north", 3), ("west", 5), ("east", 5)] {
        story.receive("tea", at, quantity).unwrap();
    }
    story
}

#[test]
fn one_warehouse_that_has_everything_comes_before_those_that_have_most() {
    let mut story = stocked();
    let lines = granted(story.reserve(vec![line("tea", 3, Source::Any)], ReserveMode::AllOrNothing));
    assert_eq!(taken(&lines[0]), [("east", 0, 3)]);
    let lines = granted(story.reserve(vec![line("tea", 3, Source::Any)], ReserveMode::AllOrNothing));
    assert_eq!(taken(&lines[0]), [("north", 0, 3)]);
    let lines = granted(story.reserve(vec![line("tea", 6, Source::Any)], ReserveMode::AllOrNothing));
    assert_eq!(taken(&lines[0]), [("west", 0, 5), ("east", 0, 1)]);
}

#[test]
fn a_preference_is_followed_in_its_order() {
    let mut story = stocked();
    let list = Source::Preference(vec![warehouse("north"), warehouse("nowhere"), warehouse("east")]);
    let lines = granted(story.reserve(vec![line("tea", 4, list)], ReserveMode::AllOrNothing));
    assert_eq!(taken(&lines[0]), [("north", 0, 3), ("east", 0, 1)]);
}

#[test]
fn the_pool_comes_first_and_units_go_back_to_where_they_were_taken_from() {
    let mut story = stocked();
    story.pool("tea", "east", "web", 2).unwrap();
    let lines = vec![line("tea", 4, Source::Warehouse(warehouse("east")))];
    let command = story.reserve_command(lines, ReserveMode::AllOrNothing);
    let lines = granted(story.send(&command));
    assert_eq!(taken(&lines[0]), [("east", 2, 2)]);
    story.commit(command.operation_id).unwrap();
    let three = vec![LineQuantity {
        line: 0,
        quantity: 3,
        warehouse: None,
    }];
    story
        .act(Action::Cancel {
            reservation_id: command.operation_id,
            lines: three,
        })
        .unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.free, cell.pools[0].quantity, cell.committed), (3, 1, 1));
}

#[test]
fn who_may_not_borrow_has_only_the_pool() {
    let mut story = stocked();
    let (sku, storefront) = (sku("tea"), storefront("web"));
    story
        .act(Action::SetPolicy {
            sku,
            storefront,
            may_borrow: false,
            max_per_reservation: 0,
            backorder_limit: 0,
            preorder_limit: 0,
            preorder_until_ms: 0,
        })
        .unwrap();
    story.pool("tea", "east", "web", 2).unwrap();
    let refused = story.reserve(vec![line("tea", 3, Source::Any)], ReserveMode::AllOrNothing);
    let sku = super::sku("tea");
    assert_eq!(
        refused,
        Err(Refusal::InsufficientStock(vec![Shortage {
            line: 0,
            sku,
            requested: 3,
            available: 2
        }]))
    );
}

#[test]
fn a_policy_limits_all_lines_of_a_sku_together() {
    let mut story = stocked();
    let (sku, storefront) = (sku("tea"), storefront("web"));
    story
        .act(Action::SetPolicy {
            sku,
            storefront,
            may_borrow: true,
            max_per_reservation: 4,
            backorder_limit: 0,
            preorder_limit: 0,
            preorder_until_ms: 0,
        })
        .unwrap();
    let lines = vec![
        line("tea", 3, Source::Any),
        line("tea", 3, Source::Warehouse(warehouse("west"))),
    ];
    let refused = story.reserve(lines.clone(), ReserveMode::AllOrNothing);
    let shortage = Shortage {
        line: 1,
        sku: super::sku("tea"),
        requested: 3,
        available: 1,
    };
    assert_eq!(refused, Err(Refusal::InsufficientStock(vec![shortage])));
    let lines = granted(story.reserve(lines, ReserveMode::BestEffort));
    assert_eq!((lines[0].granted, lines[1].granted), (3, 1));
}

#[test]
fn lines_of_one_sku_and_source_are_added_up_before_anything_is_decided() {
    let mut story = stocked();
    let east = || Source::Warehouse(warehouse("east"));
    let lines = vec![
        line("tea", 3, east()),
        line("tea", 1, Source::Any),
        line("tea", 3, east()),
    ];
    let refused = story.reserve(lines, ReserveMode::AllOrNothing);
    let shortage = Shortage {
        line: 0,
        sku: sku("tea"),
        requested: 6,
        available: 5,
    };
    assert_eq!(refused, Err(Refusal::InsufficientStock(vec![shortage])));
    assert_eq!(
        story.cell("tea", "east").free,
        5,
        "a refusal leaves nothing behind"
    );
}

#[test]
fn best_effort_takes_what_there_is_and_refuses_only_nothing() {
    let mut story = stocked();
    let lines = vec![line("tea", 99, Source::Any), line("unknown", 1, Source::Any)];
    let lines = granted(story.reserve(lines, ReserveMode::BestEffort));
    assert_eq!((lines[0].granted, lines[1].granted), (13, 0));
    let refused = story.reserve(vec![line("tea", 1, Source::Any)], ReserveMode::BestEffort);
    assert!(matches!(refused, Err(Refusal::InsufficientStock(_))));
}

#[test]
fn malformed_reservations_say_what_is_wrong() {
    let mut story = stocked();
    let web = || storefront("web");
    let reserve = |lines, ttl_ms| Action::Reserve {
        storefront: web(),
        lines,
        ttl_ms,
        mode: ReserveMode::BestEffort,
        sourcing: Sourcing::AsGiven,
    };
    let one = || line("tea", 1, Source::Any);
    let twice = Source::Preference(vec![warehouse("east"), warehouse("east")]);
    for (action, expected) in [
        (reserve(vec![], 1), "0 lines"),
        (reserve(vec![one(); 1025], 1), "1025 lines"),
        (reserve(vec![one()], 0), "ttl_ms is 0"),
        (reserve(vec![one()], 2_592_000_001), "ttl_ms is 2592000001"),
        (
            reserve(vec![one(), line("tea", 0, Source::Any)], 1),
            "lines[1].quantity is 0",
        ),
        (
            reserve(vec![line("tea", i64::MIN, Source::Any)], 1),
            "lines[0].quantity is -9223372036854775808",
        ),
        (
            reserve(vec![line("tea", 1, Source::Preference(vec![]))], 1),
            "lines[0].source lists 0",
        ),
        (reserve(vec![line("tea", 1, twice)], 1), "lines[0].source lists 2"),
    ] {
        match story.act(action) {
            Err(Refusal::InvalidRequest(message)) => assert!(message.contains(expected), "{message}"),
            other => panic!("{expected}: {other:?}"),
        }
    }
    assert_eq!(
        story.act(reserve(vec![line("tea", i64::MAX, Source::Any); 2], 1)),
        Err(Refusal::Overflow)
    );
}
