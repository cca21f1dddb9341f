//! Tests of numbers at the end of 64 bits, and of names at their limits.

use super::*;
use crate::ledger::names::{MAX_SMALL_NAMES, SmallNames};

fn returned(quantity: i64, disposition: Disposition) -> Action {
    let of = ReturnOf::Unreferenced {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity,
    };
    Action::Return { of, disposition }
}

#[test]
fn a_receipt_beyond_64_bits_is_refused_and_leaves_the_cell_alone() {
    let mut story = Story::new();
    story.receive("tea", "east", i64::MAX).unwrap();
    assert_eq!(story.receive("tea", "east", 1), Err(Refusal::Overflow));
    assert_eq!(
        story.act(returned(1, Disposition::Damaged)),
        Err(Refusal::Overflow)
    );
    let adjust = Action::Adjust {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        delta: 1,
    };
    assert_eq!(story.act(adjust), Err(Refusal::Overflow));
    assert_eq!(story.cell("tea", "east").on_hand, i64::MAX);
    story.receive("tea", "west", i64::MAX).unwrap();
    let command = story.reserve_command(
        vec![line("tea", i64::MAX, Source::Any)],
        ReserveMode::AllOrNothing,
    );
    story.send(&command).unwrap();
    story.commit(command.operation_id).unwrap();
    story
        .act(Action::Ship {
            reservation_id: command.operation_id,
            lines: vec![],
        })
        .unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 0);
    // The sum of all arrivals is also at its end.
    assert_eq!(story.receive("tea", "east", 1), Err(Refusal::Overflow));
    story.act(returned(i64::MAX, Disposition::QualityHold)).unwrap();
}

#[test]
fn a_count_of_everything_as_missing_and_as_found_again() {
    let mut story = Story::new();
    story.receive("tea", "east", i64::MAX).unwrap();
    let id = story.hold("tea", i64::MAX);
    story.count("tea", "east", 0, None).unwrap();
    assert_eq!(story.cell("tea", "east").deficit, i64::MAX);
    story.act(returned(7, Disposition::Damaged)).unwrap();
    story.count("tea", "east", i64::MAX, None).unwrap();
    assert_eq!(story.cell("tea", "east").deficit, 7);
    story.act(Action::Release { reservation_id: id }).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.deficit, cell.free, cell.damaged), (0, i64::MAX - 7, 7));
}

#[test]
fn a_count_after_large_receipts_does_not_overflow() {
    let mut story = Story::new();
    story.receive("tea", "east", i64::MAX).unwrap();
    assert_eq!(
        story.count("tea", "east", i64::MAX, Some(0)),
        Err(Refusal::Overflow)
    );
}

#[test]
fn returns_that_do_not_fit_beside_other_stock_are_refused_whole() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let lines = vec![
        line("tea", 2, Source::Any),
        line("tea", 3, Source::Warehouse(warehouse("east"))),
    ];
    let command = story.reserve_command(lines, ReserveMode::AllOrNothing);
    story.send(&command).unwrap();
    let id = command.operation_id;
    story.commit(id).unwrap();
    story
        .act(Action::Ship {
            reservation_id: id,
            lines: vec![],
        })
        .unwrap();
    story.receive("tea", "east", i64::MAX - 5 - 2 + 2).unwrap();
    let digest = story.ledger.operations.len();
    let back = |lines| Action::Return {
        of: ReturnOf::Reservation {
            reservation_id: id,
            lines,
        },
        disposition: Disposition::Restock,
    };
    story
        .act(Action::Adjust {
            sku: sku("tea"),
            warehouse: warehouse("east"),
            delta: 2,
        })
        .unwrap();
    // Three more fit. Five do not, and then not even the first two of them are taken.
    assert_eq!(story.act(back(vec![])), Err(Refusal::Overflow));
    assert_eq!(story.ledger.operations.len(), digest + 1);
    story
        .act(back(vec![LineQuantity {
            line: 1,
            quantity: 3,
            warehouse: None,
        }]))
        .unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, i64::MAX);
}

#[test]
fn the_smallest_number_is_refused_everywhere() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let (tea, east) = (|| sku("tea"), || warehouse("east"));
    let id = story.hold("tea", 1);
    story.commit(id).unwrap();
    for action in [
        Action::Receive {
            sku: tea(),
            warehouse: east(),
            quantity: i64::MIN,
            supply_id: None,
        },
        Action::Adjust {
            sku: tea(),
            warehouse: east(),
            delta: i64::MIN,
        },
        Action::Count {
            sku: tea(),
            warehouse: east(),
            counted: i64::MIN,
            as_of_seq: None,
        },
        Action::AllocatePool {
            sku: tea(),
            warehouse: east(),
            storefront: storefront("web"),
            target: i64::MIN,
        },
        returned(i64::MIN, Disposition::Restock),
        Action::Ship {
            reservation_id: id,
            lines: vec![LineQuantity {
                line: 0,
                quantity: i64::MIN,
                warehouse: None,
            }],
        },
    ] {
        assert!(story.act(action.clone()).is_err(), "{action:?}");
    }
}

#[test]
fn warehouses_are_listed_by_name_whatever_came_first() {
    let mut story = Story::new();
    let receive = |number: u32| Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse(&format!("w{:04}", number * 7919 % 1000)),
        quantity: 1,
        supply_id: None,
    };
    let commands: Vec<Command> = (0..1000).map(|number| story.command(receive(number))).collect();
    assert!(story.entry(commands).iter().all(Result::is_ok));
    let QueryReply::Cells(cells) = story
        .ledger
        .query(&Query::Cells {
            sku: sku("tea"),
            warehouse: None,
        })
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(cells.len(), 1000);
    assert!(cells.is_sorted_by(|a, b| a.warehouse < b.warehouse));
}

#[test]
fn one_warehouse_or_storefront_too_many_is_refused() {
    let mut story = Story::new();
    let names = || (0..MAX_SMALL_NAMES).map(|number| format!("n{number}"));
    story.ledger.stock.warehouses =
        SmallNames::from_snapshot(names().map(|name| warehouse(&name)).collect()).unwrap();
    story.receive("tea", "n7", 9).unwrap();
    let limit = |what: &str| {
        Err(Refusal::LimitReached {
            what: what.to_owned(),
            limit: 65_535,
        })
    };
    assert_eq!(story.receive("tea", "east", 1), limit("warehouses"));
    story.ledger.stock.storefronts =
        SmallNames::from_snapshot(names().map(|name| storefront(&name)).collect()).unwrap();
    let command = story.reserve_command(vec![line("tea", 1, Source::Any)], ReserveMode::AllOrNothing);
    assert_eq!(story.send(&command), limit("storefronts"));
    assert_eq!(story.pool("tea", "n7", "web", 1), limit("storefronts"));
    story.pool("tea", "n7", "n9", 1).unwrap();
}
