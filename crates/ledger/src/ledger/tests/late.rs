//! Tests of goods that are booked after a count has seen them.

use super::*;

fn as_of(seq: u64) -> Details {
    Details {
        as_of_seq: Some(seq),
        ..Details::default()
    }
}

impl Story {
    fn act_as_of(&mut self, seq: u64, action: Action) -> Outcome {
        let command = Command {
            details: as_of(seq),
            ..self.command(action)
        };
        self.send(&command)
    }

    fn last_seq(&self) -> u64 {
        self.ledger.last_seq()
    }
}

fn receive(quantity: i64) -> Action {
    Action::Receive {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        quantity,
        supply_id: None,
    }
}

fn adjust(delta: i64) -> Action {
    Action::Adjust {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        delta,
    }
}

fn taken_back(disposition: Disposition) -> Action {
    let (sku, warehouse) = (sku("tea"), warehouse("east"));
    Action::Return {
        of: ReturnOf::Unreferenced {
            sku,
            warehouse,
            quantity: 3,
        },
        disposition,
    }
}

/// 20 units are there, and everything after this position is booked late.
fn story() -> (Story, u64) {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 20).unwrap();
    let seq = story.last_seq();
    (story, seq)
}

/// Returns the kinds of the last changes, each with its effect on the units on hand.
fn last_changes(story: &Story, count: usize) -> Vec<(ChangeKind, i64)> {
    let moved = |change: &Change| {
        let on_hand = change.moves.iter().find(|moved| moved.bucket == Bucket::OnHand);
        (change.kind, on_hand.map_or(0, |moved| moved.delta))
    };
    let first = story.changes.len() - count;
    story.changes[first..].iter().map(moved).collect()
}

#[test]
fn a_delivery_that_was_counted_before_it_was_booked_is_not_added_twice() {
    let (mut story, before) = story();
    story.count("tea", "east", 56, None).unwrap();
    let booked = story.act_as_of(before, receive(36)).unwrap();
    let Success::Stocked { cell: Some(cell), .. } = booked else {
        panic!("{booked:?}");
    };
    assert_eq!((cell.on_hand, cell.free), (56, 56));
    assert_eq!(
        last_changes(&story, 2),
        [(ChangeKind::Received, 36), (ChangeKind::Counted, -36)]
    );
    // No count has seen the next delivery.
    story.act_as_of(story.last_seq(), receive(1)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 57);
}

#[test]
fn a_delivery_that_came_after_the_count_is_added() {
    let (mut story, _) = story();
    story.count("tea", "east", 20, None).unwrap();
    story.act_as_of(story.last_seq(), receive(36)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 56);
}

#[test]
fn a_count_of_another_cell_has_seen_nothing() {
    let (mut story, before) = story();
    story.receive("tea", "west", 1).unwrap();
    story.receive("milk", "east", 1).unwrap();
    story.count("tea", "west", 1, None).unwrap();
    story.count("milk", "east", 1, None).unwrap();
    story.act_as_of(before, receive(36)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 56);
}

#[test]
fn a_count_that_is_booked_after_the_late_delivery_it_has_seen_does_not_add_it_again() {
    let (mut story, before) = story();
    story.receive("other", "east", 1).unwrap();
    let counted_at = story.last_seq();
    story.act_as_of(before, receive(36)).unwrap();
    story.receive("tea", "east", 4).unwrap();
    // 56 units were on the shelf at the count, and 4 came afterwards.
    story.count("tea", "east", 56, Some(counted_at)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 60);
}

#[test]
fn an_earlier_count_makes_way_for_a_later_one() {
    let (mut story, before) = story();
    story.receive("other", "east", 1).unwrap();
    let later = story.last_seq();
    story.count("tea", "east", 50, Some(later)).unwrap();
    story.count("tea", "east", 56, Some(before)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 50);
    assert_eq!(last_changes(&story, 1), [(ChangeKind::Counted, 0)]);
    let copy = Ledger::decode(&story.ledger.encode()).unwrap();
    assert_eq!(copy.digest(), story.ledger.digest());
    // A count as of the same change corrects it.
    story.count("tea", "east", 51, Some(later)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 51);
}

#[test]
fn a_shipment_that_left_before_a_count_leaves_the_count_right() {
    let (mut story, before) = story();
    let id = story.hold("tea", 5);
    story.commit(id).unwrap();
    // The 5 are gone. 15 are on the shelf, and all of them are free for others.
    story.count("tea", "east", 15, None).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.on_hand, cell.free, cell.committed), (15, 10, 5));
    let ship = Action::Ship {
        reservation_id: id,
        lines: Vec::new(),
    };
    story.act_as_of(before, ship).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.on_hand, cell.free, cell.committed), (15, 15, 0));
    assert_eq!(
        last_changes(&story, 2),
        [(ChangeKind::Counted, 5), (ChangeKind::Shipped, -5)]
    );
}

#[test]
fn what_a_count_found_missing_can_be_shipped_when_it_had_left_before() {
    let (mut story, before) = story();
    let id = story.hold("tea", 20);
    story.commit(id).unwrap();
    story.count("tea", "east", 3, None).unwrap();
    assert_eq!(story.cell("tea", "east").deficit, 17);
    let ship = || Action::Ship {
        reservation_id: id,
        lines: vec![LineQuantity {
            line: 0,
            quantity: 17,
            warehouse: None,
        }],
    };
    assert!(matches!(story.act(ship()), Err(Refusal::InsufficientStock(_))));
    story.act_as_of(before, ship()).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.on_hand, cell.deficit, cell.committed), (3, 0, 3));
}

#[test]
fn a_late_loss_is_not_taken_twice_and_neither_is_a_late_find() {
    let (mut story, before) = story();
    story.count("tea", "east", 18, None).unwrap();
    story.act_as_of(before, adjust(-2)).unwrap();
    story.act_as_of(before, adjust(1)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 18);
    // The same holds if nothing is free to be taken.
    let id = story.hold("tea", 18);
    story.act_as_of(before, adjust(-7)).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!((cell.on_hand, cell.held, cell.deficit), (18, 18, 0));
    story.commit(id).unwrap();
}

#[test]
fn late_returns_leave_the_count_right_and_are_where_they_were_put() {
    let (mut story, before) = story();
    story.pool("tea", "east", "web", 8).unwrap();
    story.count("tea", "east", 29, None).unwrap();
    story.act_as_of(before, taken_back(Disposition::Restock)).unwrap();
    story.act_as_of(before, taken_back(Disposition::Damaged)).unwrap();
    story
        .act_as_of(before, taken_back(Disposition::QualityHold))
        .unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.free, cell.damaged, cell.quality_hold),
        (29, 15, 3, 3)
    );
}

#[test]
fn a_late_transfer_leaves_both_counts_right() {
    let (mut story, before) = story();
    story.receive("tea", "west", 1).unwrap();
    let counted_at = story.last_seq();
    story.count("tea", "east", 8, None).unwrap();
    story.count("tea", "west", 13, None).unwrap();
    let out = Action::TransferOut {
        lines: vec![TransferLine {
            sku: sku("tea"),
            quantity: 12,
        }],
        from: warehouse("east"),
        to: warehouse("west"),
        expected_at_ms: START_MS,
    };
    let out = Command {
        details: as_of(before),
        ..story.command(out)
    };
    story.send(&out).unwrap();
    let east = story.cell("tea", "east");
    assert_eq!((east.on_hand, east.free), (8, 8));
    let arrive = Action::TransferIn {
        transfer_id: out.operation_id,
        lines: Vec::new(),
        disposition: Disposition::Restock,
    };
    story.act_as_of(counted_at, arrive).unwrap();
    let west = story.cell("tea", "west");
    assert_eq!((west.on_hand, west.free, west.in_transit), (13, 13, 0));
}

#[test]
fn a_late_delivery_that_was_counted_changes_nothing_where_units_are_missing_or_waited_for() {
    let mut story = Story::by(Rules::Second);
    story.receive("tea", "east", 4).unwrap();
    let before = story.last_seq();
    story.pool("tea", "east", "web", 2).unwrap();
    story
        .act(Action::SetPolicy {
            sku: sku("tea"),
            storefront: storefront("web"),
            may_borrow: true,
            max_per_reservation: 0,
            backorder_limit: 10,
            preorder_limit: 0,
            preorder_until_ms: 0,
        })
        .unwrap();
    story.hold("tea", 9);
    story.count("tea", "east", 4, None).unwrap();
    let first = story.cell("tea", "east");
    assert!(first.backordered > 0);
    story.act_as_of(before, receive(36)).unwrap();
    assert_eq!(story.cell("tea", "east"), first);
    story.count("tea", "east", 1, None).unwrap();
    let second = story.cell("tea", "east");
    assert!(second.deficit > 0);
    story.act_as_of(before, receive(36)).unwrap();
    assert_eq!(story.cell("tea", "east"), second);
}

#[test]
fn positions_that_are_not_reached_or_not_remembered_are_refused() {
    let (mut story, _) = story();
    let last_seq = story.last_seq();
    assert_eq!(
        story.act_as_of(last_seq + 1, receive(1)),
        Err(Refusal::PositionInFuture {
            as_of_seq: last_seq + 1,
            last_seq
        })
    );
    // Counts from before the second rules are not remembered.
    let mut upgraded = Story::new();
    upgraded.receive("tea", "east", 20).unwrap();
    upgraded.count("tea", "east", 56, None).unwrap();
    upgraded.act(Action::AdoptRules { rules: Rules::Second }).unwrap();
    assert_eq!(
        upgraded.act_as_of(1, receive(36)),
        Err(Refusal::PositionTooOld {
            as_of_seq: 1,
            oldest_seq: 2
        })
    );
    upgraded.act_as_of(2, receive(36)).unwrap();
    assert_eq!(upgraded.cell("tea", "east").on_hand, 92);
}

#[test]
fn what_is_booked_late_must_move_goods_and_needs_the_second_rules() {
    let (mut story, before) = story();
    let id = story.hold("tea", 1);
    for action in [
        Action::Commit { reservation_id: id },
        Action::MoveBucket {
            sku: sku("tea"),
            warehouse: warehouse("east"),
            from: Bucket::Free,
            to: Bucket::Safety,
            quantity: 1,
        },
    ] {
        let refused = story.act_as_of(before, action);
        assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
    }
    let mut first = Story::new();
    first.receive("tea", "east", 1).unwrap();
    let refused = first.act_as_of(1, receive(1));
    assert!(matches!(refused, Err(Refusal::InvalidRequest(_))), "{refused:?}");
}

#[test]
fn a_count_that_is_no_longer_remembered_makes_positions_before_it_too_old() {
    use crate::limits::KEPT_MOVEMENTS;

    let mut story = Story::by(Rules::Second);
    story.count("milk", "east", 0, None).unwrap();
    story.receive("tea", "east", 1).unwrap();
    let before = story.last_seq();
    story.count("tea", "east", 5, None).unwrap();
    let count = |story: &mut Story| {
        let action = Action::Count {
            sku: sku("milk"),
            warehouse: warehouse("east"),
            counted: 0,
            as_of_seq: None,
        };
        story.command(action)
    };
    for _ in 0..KEPT_MOVEMENTS / 1000 {
        let many = (0..1000).map(|_| count(&mut story)).collect();
        story.entry(many);
    }
    let refused = story.act_as_of(before, receive(4));
    assert!(
        matches!(refused, Err(Refusal::PositionTooOld { .. })),
        "{refused:?}"
    );
    story.act_as_of(before + 1, receive(4)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 9);
    // The count as of a later change than this one is forgotten by this time.
    let older = Action::Count {
        sku: sku("tea"),
        warehouse: warehouse("east"),
        counted: 1,
        as_of_seq: Some(before - 1),
    };
    assert_eq!(
        story.act(older),
        Err(Refusal::PositionTooOld {
            as_of_seq: before - 1,
            oldest_seq: before
        })
    );
    story.count("tea", "east", 5, Some(before)).unwrap();
}

#[test]
fn adopting_rules_that_are_not_newer_forgets_no_count() {
    let (mut story, before) = story();
    story.count("tea", "east", 56, None).unwrap();
    for rules in [Rules::First, Rules::Second] {
        story.act(Action::AdoptRules { rules }).unwrap();
    }
    story.act_as_of(before, receive(36)).unwrap();
    assert_eq!(story.cell("tea", "east").on_hand, 56);
}

#[test]
fn a_late_loss_of_more_than_can_be_negated_is_refused() {
    let (mut story, before) = story();
    story.count("tea", "east", 20, None).unwrap();
    assert_eq!(story.act_as_of(before, adjust(i64::MIN)), Err(Refusal::Overflow));
    assert_eq!(story.act(adjust(i64::MIN)), Err(Refusal::Overflow));
}

#[test]
fn a_snapshot_from_the_end_of_all_numbers_is_checked_without_overflow() {
    let late = crate::ledger::late::Late::default();
    assert_eq!(late.check(u64::MAX, |_| true), Ok(()));
}
