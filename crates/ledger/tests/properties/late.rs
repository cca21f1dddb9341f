//! Goods that are booked late. The units on hand do not depend on when the goods were booked.

use std::collections::BTreeMap;

use holdfast_ledger::*;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::{
    generate::{START_MS, id_at, log},
    story::{Story, each},
};

/// An event in the one cell, at one of its positions.
#[derive(Debug, Clone, Copy)]
enum Event {
    Received(i64),
    Lost(i64),
    CameBack(i64, Disposition),
    Shipped(i64),
    Counted,
    /// An arrival at the time when it is booked, later than everything else.
    ReceivedNow(i64),
}

impl Event {
    fn units(self) -> i64 {
        match self {
            Self::Received(units) | Self::CameBack(units, _) | Self::ReceivedNow(units) => units,
            Self::Lost(units) | Self::Shipped(units) => -units,
            Self::Counted => 0,
        }
    }
}

const POSITIONS: usize = 10;
const AT_FIRST: i64 = 1_000;

fn event() -> impl Strategy<Value = Event> {
    let disposition = select(vec![
        Disposition::Restock,
        Disposition::Damaged,
        Disposition::QualityHold,
    ]);
    prop_oneof![
        3 => (1..30_i64).prop_map(Event::Received),
        2 => (1..10_i64).prop_map(Event::Lost),
        2 => (1..10_i64, disposition).prop_map(|(units, disposition)| Event::CameBack(units, disposition)),
        2 => (1..10_i64).prop_map(Event::Shipped),
        4 => Just(Event::Counted),
        1 => (1..10_i64).prop_map(Event::ReceivedNow),
    ]
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    vec((0..POSITIONS, event()), 1..14)
}

fn sku() -> Sku {
    Sku::new("tea").unwrap()
}

fn east() -> WarehouseId {
    WarehouseId::new("east").unwrap()
}

fn receive(sku: &str, quantity: i64) -> Action {
    Action::Receive {
        sku: Sku::new(sku).unwrap(),
        warehouse: east(),
        quantity,
        supply_id: None,
    }
}

fn returned(quantity: i64, disposition: Disposition) -> Action {
    let (sku, warehouse) = (sku(), east());
    Action::Return {
        of: ReturnOf::Unreferenced {
            sku,
            warehouse,
            quantity,
        },
        disposition,
    }
}

/// Returns the units on hand in the end, with these events booked in this order. `shelf` returns the units
/// that a counter finds at a position.
fn on_hand_after(booked: &[(usize, Event)], shelf: impl Fn(usize) -> i64) -> i64 {
    let mut story = Story::new();
    story.act(receive("tea", AT_FIRST)).unwrap();
    let sold = story.hold("tea", AT_FIRST / 2);
    story.act(Action::Commit { reservation_id: sold }).unwrap();
    let first = story.ledger.last_seq();
    for _ in 0..POSITIONS {
        story.act(receive("cup", 1)).unwrap();
    }
    for (position, event) in booked {
        let seq = first + *position as u64;
        let outcome = match *event {
            Event::Received(units) => story.act_as_of(seq, receive("tea", units)),
            Event::Lost(units) => story.act_as_of(
                seq,
                Action::Adjust {
                    sku: sku(),
                    warehouse: east(),
                    delta: -units,
                },
            ),
            Event::CameBack(units, disposition) => story.act_as_of(seq, returned(units, disposition)),
            Event::Shipped(quantity) => story.act_as_of(
                seq,
                Action::Ship {
                    reservation_id: sold,
                    lines: vec![LineQuantity {
                        line: 0,
                        quantity,
                        warehouse: None,
                    }],
                },
            ),
            Event::Counted => story.act(Action::Count {
                sku: sku(),
                warehouse: east(),
                counted: shelf(*position),
                as_of_seq: Some(seq),
            }),
            Event::ReceivedNow(units) => story.act(receive("tea", units)),
        };
        outcome.unwrap();
    }
    story.cell("tea").on_hand
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_booking_does_not_matter_when_counts_are_right(
        (in_order, booked) in events().prop_flat_map(|events| {
            (Just(events.clone()), Just(events).prop_shuffle())
        }),
        unknown in -50..50_i64,
    ) {
        let mut in_order = in_order;
        // At one position, the count comes last: it has seen the events of that position.
        in_order.sort_by_key(|(position, event)| match event {
            Event::ReceivedNow(_) => (POSITIONS, false),
            event => (*position, matches!(event, Event::Counted)),
        });
        let moved_until = |last: usize| -> i64 {
            let now = |event: &Event| matches!(event, Event::ReceivedNow(_));
            let then = in_order.iter().filter(|(position, event)| *position <= last && !now(event));
            then.map(|(_, event)| event.units()).sum()
        };
        let shelf = |position| AT_FIRST + unknown + moved_until(position);
        let all: i64 = in_order.iter().map(|(_, event)| event.units()).sum();
        let is_counted = in_order.iter().any(|(_, event)| matches!(event, Event::Counted));
        let expected = AT_FIRST + all + if is_counted { unknown } else { 0 };
        prop_assert_eq!(on_hand_after(&in_order, shelf), expected);
        prop_assert_eq!(on_hand_after(&booked, shelf), expected);
    }
}

type Cells = BTreeMap<(Sku, WarehouseId), i64>;

fn on_hand(ledger: &Ledger) -> Cells {
    let query = Query::ListCells {
        after: None,
        limit: 100,
    };
    match ledger.query(&query).unwrap() {
        QueryReply::Cells(cells) => cells
            .into_iter()
            .map(|cell| ((cell.sku, cell.warehouse), cell.on_hand))
            .collect(),
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_late_movement_that_a_count_has_seen_leaves_on_hand_as_it_was(drafts in log(40)) {
        let mut counts: Vec<((Sku, WarehouseId), u64)> = Vec::new();
        each(&drafts, |entry, before, (after, applied)| {
            let command = &entry.commands[0];
            if applied.changes.is_empty() {
                return;
            }
            if let Action::Count { sku, warehouse, as_of_seq, .. } = &command.action {
                counts.push(((sku.clone(), warehouse.clone()), as_of_seq.unwrap_or(before.last_seq())));
                return;
            }
            let is_seen = |cell: &(Sku, WarehouseId)| command.details.as_of_seq.is_some_and(|as_of_seq| {
                counts.iter().any(|(other, counted)| other == cell && *counted >= as_of_seq)
            });
            let (before, after) = (on_hand(before), on_hand(after));
            for change in &applied.changes {
                let moved = change.moves.iter().find(|moved| moved.bucket == Bucket::OnHand);
                if moved.is_none() {
                    continue;
                }
                let cell = (change.sku.clone().unwrap(), change.warehouse.clone().unwrap());
                let was = before.get(&cell).copied().unwrap_or(0);
                assert_eq!(is_seen(&cell), after[&cell] == was, "{command:?} makes {:?}", applied.changes);
            }
        });
    }
}

/// Returns quantities at the edges of 64 bits.
fn edge() -> impl Strategy<Value = i64> {
    select(vec![
        i64::MIN,
        i64::MIN + 1,
        -1,
        1,
        2,
        i64::MAX / 2,
        i64::MAX / 2 + 1,
        i64::MAX - 1,
        i64::MAX,
    ])
}

fn edge_action() -> impl Strategy<Value = Action> {
    let disposition = || {
        select(vec![
            Disposition::Restock,
            Disposition::Damaged,
            Disposition::QualityHold,
        ])
    };
    let source = || prop_oneof![Just(Source::Any), Just(Source::Warehouse(east()))];
    let reserve = (edge(), edge(), source(), source());
    let reserve = reserve.prop_map(|(first, second, of_first, of_second)| {
        let line = |(quantity, source)| ReserveLine {
            sku: sku(),
            quantity,
            source,
        };
        Action::Reserve {
            storefront: StorefrontId::new("web").unwrap(),
            lines: [(first, of_first), (second, of_second)].map(line).to_vec(),
            ttl_ms: 1_000_000,
            mode: ReserveMode::BestEffort,
            sourcing: Sourcing::AsGiven,
        }
    });
    // The reservation gets its id when the command is sent.
    let reservation_id = id_at(1, 1);
    let lines = Vec::new();
    let ship = Action::Ship {
        reservation_id,
        lines: lines.clone(),
    };
    prop_oneof![
        4 => edge().prop_map(|quantity| receive("tea", quantity)),
        3 => edge().prop_map(|delta| Action::Adjust { sku: sku(), warehouse: east(), delta }),
        4 => edge().prop_map(|counted| Action::Count {
            sku: sku(),
            warehouse: east(),
            counted,
            as_of_seq: None,
        }),
        2 => (edge(), disposition()).prop_map(|(quantity, disposition)| returned(quantity, disposition)),
        4 => reserve,
        2 => Just(Action::Commit { reservation_id }),
        2 => Just(ship),
        1 => Just(Action::Cancel { reservation_id, lines: lines.clone() }),
        1 => disposition().prop_map(move |disposition| {
            let of = ReturnOf::Reservation { reservation_id, lines: Vec::new() };
            Action::Return { of, disposition }
        }),
        1 => edge().prop_map(|quantity| Action::TransferOut {
            lines: vec![TransferLine { sku: sku(), quantity }],
            from: east(),
            to: WarehouseId::new("west").unwrap(),
            expected_at_ms: START_MS,
        }),
        1 => edge().prop_map(|target| Action::AllocatePool {
            sku: sku(),
            warehouse: east(),
            storefront: StorefrontId::new("web").unwrap(),
            target,
        }),
        1 => (edge(), edge()).prop_map(|(max_per_reservation, backorder_limit)| Action::SetPolicy {
            sku: sku(),
            storefront: StorefrontId::new("web").unwrap(),
            may_borrow: true,
            max_per_reservation: if max_per_reservation < 0 { 0 } else { max_per_reservation },
            backorder_limit,
            preorder_limit: 0,
            preorder_until_ms: 0,
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn quantities_at_the_edges_of_64_bits_stop_no_shard(
        steps in vec((edge_action(), prop::option::of(0..6_u64), 0..3_usize, any::<bool>()), 1..30),
    ) {
        let mut story = Story::new();
        let mut held: Vec<ReservationId> = Vec::new();
        for (mut action, back, steps, replaces) in steps {
            let last = held.iter().rev().nth(steps).copied();
            let mut details = Details::default();
            let as_of_seq = back.map(|back| story.ledger.last_seq().saturating_sub(back));
            match &mut action {
                Action::Commit { reservation_id }
                | Action::Ship { reservation_id, .. }
                | Action::Cancel { reservation_id, .. }
                | Action::Return { of: ReturnOf::Reservation { reservation_id, .. }, .. } => {
                    *reservation_id = last.unwrap_or(*reservation_id);
                }
                Action::Count { as_of_seq: counted_at, .. } => *counted_at = as_of_seq,
                Action::Reserve { .. } if replaces => details.replaces = last,
                _ => {}
            }
            if matches!(
                action,
                Action::Receive { .. } | Action::Adjust { .. } | Action::Ship { .. } | Action::Return { .. }
                    | Action::TransferOut { .. }
            ) {
                details.as_of_seq = as_of_seq;
            }
            let (id, outcome) = story.send(details, action);
            if let Ok(Success::Reserved { .. }) = outcome {
                held.push(id);
            }
        }
    }
}
