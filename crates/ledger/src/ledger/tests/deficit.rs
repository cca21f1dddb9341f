//! Tests of counts, and of promised units that turn out to be missing.

use super::*;

/// East has 10 pieces of tea: 4 held, 2 committed, 1 safety, 1 in a pool, 1 damaged, 1 free.
fn stocked() -> (Story, ReservationId, ReservationId) {
    let mut story = Story::new();
    story.receive("tea", "east", 10).unwrap();
    let held = story.hold("tea", 4);
    let committed = story.hold("tea", 2);
    story.commit(committed).unwrap();
    for to in [Bucket::Safety, Bucket::Damaged] {
        let (sku, warehouse) = (sku("tea"), warehouse("east"));
        story
            .act(Action::MoveBucket {
                sku,
                warehouse,
                from: Bucket::Free,
                to,
                quantity: 1,
            })
            .unwrap();
    }
    story.pool("tea", "east", "app", 1).unwrap();
    (story, held, committed)
}

#[test]
fn a_count_takes_from_sellable_then_promised_then_unsellable_stock() {
    let (mut story, ..) = stocked();
    // (counted, (free, safety, pools, deficit, damaged) after the count)
    for (counted, expected) in [
        (10, (1, 1, 1, 0, 1)),
        (9, (0, 1, 1, 0, 1)),
        (8, (0, 0, 1, 0, 1)),
        (7, (0, 0, 0, 0, 1)),
        (6, (0, 0, 0, 1, 1)),
        (1, (0, 0, 0, 6, 1)),
        (0, (0, 0, 0, 6, 0)),
    ] {
        story.count("tea", "east", counted, None).unwrap();
        let cell = story.cell("tea", "east");
        let pooled = cell.pools.iter().map(|pool| pool.quantity).sum::<i64>();
        assert_eq!(
            (cell.free, cell.safety, pooled, cell.deficit, cell.damaged),
            expected,
            "counted {counted}"
        );
        assert_eq!((cell.on_hand, cell.held, cell.committed), (counted, 4, 2));
        let cells = u64::from(expected.3 > 0);
        assert_eq!(story.ledger.deficit(), (cells, expected.3 as u64));
    }
}

#[test]
fn what_comes_in_fills_the_deficit_first() {
    let (mut story, held, committed) = stocked();
    story.count("tea", "east", 1, None).unwrap();
    story.receive("tea", "east", 1).unwrap();
    assert_eq!(story.cell("tea", "east").deficit, 5);
    let (name, at) = (sku("tea"), warehouse("east"));
    let damaged = Action::MoveBucket {
        sku: name,
        warehouse: at,
        from: Bucket::Damaged,
        to: Bucket::Safety,
        quantity: 1,
    };
    story.act(damaged).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.deficit, cell.safety, cell.damaged), (4, 0, 0));
    story.act(Action::Release { reservation_id: held }).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.deficit, cell.free, cell.held, cell.committed), (0, 0, 0, 2));
    story
        .act(Action::Cancel {
            reservation_id: committed,
            lines: vec![],
        })
        .unwrap();
    assert_eq!(story.cell("tea", "east").free, 2);
}

#[test]
fn what_is_not_there_cannot_ship_and_damaged_goods_do_not_count() {
    let (mut story, _, committed) = stocked();
    story.count("tea", "east", 2, None).unwrap();
    let ship = |quantity| Action::Ship {
        reservation_id: committed,
        lines: vec![LineQuantity {
            line: 0,
            quantity,
            warehouse: None,
        }],
    };
    let refused = story.act(ship(2));
    let shortage = Shortage {
        line: 0,
        sku: sku("tea"),
        requested: 2,
        available: 1,
    };
    assert_eq!(refused, Err(Refusal::InsufficientStock(vec![shortage])));
    story.act(ship(1)).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.damaged, cell.committed, cell.deficit),
        (1, 1, 1, 5)
    );
}

#[test]
fn a_count_as_of_a_change_applies_what_moved_since() {
    let (mut story, _, committed) = stocked();
    let counted_at = story.ledger.last_seq();
    story.receive("tea", "east", 5).unwrap();
    story.receive("tea", "west", 50).unwrap();
    story
        .act(Action::Ship {
            reservation_id: committed,
            lines: vec![],
        })
        .unwrap();
    story.count("tea", "east", 9, Some(counted_at)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 9 + 5 - 2);
    let last_seq = story.ledger.last_seq();
    let as_of_seq = last_seq + 1;
    let future = story.count("tea", "east", 9, Some(as_of_seq));
    assert_eq!(future, Err(Refusal::PositionInFuture { as_of_seq, last_seq }));
}

#[test]
fn a_count_that_contradicts_what_left_since_is_refused() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let counted_at = story.ledger.last_seq();
    let id = story.hold("tea", 3);
    story.commit(id).unwrap();
    story
        .act(Action::Ship {
            reservation_id: id,
            lines: vec![],
        })
        .unwrap();
    let refused = story.count("tea", "east", 2, Some(counted_at));
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
    story.count("tea", "east", 3, Some(counted_at)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 0);
}

#[test]
fn a_count_of_a_position_that_is_no_longer_kept_is_refused() {
    let mut story = Story::new();
    let kept = crate::limits::KEPT_MOVEMENTS as u64;
    story.receive("tea", "east", 1).unwrap();
    for _ in 0..100 {
        let receive = |_| Action::Receive {
            sku: sku("tea"),
            warehouse: warehouse("east"),
            quantity: 1,
            supply_id: None,
        };
        let actions: Vec<Action> = (0..kept / 100).map(receive).collect();
        let commands = actions.into_iter().map(|action| story.command(action)).collect();
        story.entry(commands);
    }
    let refused = story.count("tea", "east", 0, Some(0));
    assert_eq!(
        refused,
        Err(Refusal::PositionTooOld {
            as_of_seq: 0,
            oldest_seq: 1
        })
    );
    story.count("tea", "east", 1, Some(1)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 1 + kept as i64);
}

#[test]
fn an_adjustment_never_touches_what_is_promised() {
    let (mut story, ..) = stocked();
    let adjust = |delta| Action::Adjust {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        delta,
    };
    let shortage = Shortage {
        line: 0,
        sku: sku("tea"),
        requested: 4,
        available: 3,
    };
    assert_eq!(
        story.act(adjust(-4)),
        Err(Refusal::InsufficientStock(vec![shortage]))
    );
    story.act(adjust(-3)).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.free, cell.safety, cell.pools.len()),
        (7, 0, 0, 0)
    );
    let mut without_reason = story.command(adjust(1));
    without_reason.reason = CallerReason::default();
    assert!(matches!(
        story.send(&without_reason),
        Err(Refusal::InvalidRequest(_))
    ));
}

#[test]
fn one_change_names_one_pool() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    for name in ["web", "app", "kiosk"] {
        story.pool("tea", "east", name, 1).unwrap();
    }
    let before = story.changes.len();
    story.count("tea", "east", 0, None).unwrap();
    let told: Vec<_> = story.changes[before..]
        .iter()
        .map(|change| {
            (
                change.storefront.as_ref().map(StorefrontId::as_str),
                change.moves[0].delta,
            )
        })
        .collect();
    assert_eq!(told, [(Some("app"), -3), (Some("kiosk"), -1), (Some("web"), -1)]);
}
