//! Checks that the changes add up to the ledger's own answers at the time.

use holdfast_api::v1;
use holdfast_history::{AsOfError, At, Reading, Reservation, Stock, Subject};
use holdfast_ledger::{
    Action, Bucket, CallerReason, Command, Details, Disposition, Entry, Ledger, LedgerOptions, LineQuantity,
    OperationId, Principal, Query, QueryReply, Reference, ReservationId, ReserveLine, ReserveMode, ReturnOf,
    Sku, Source, Sourcing, StorefrontId, WarehouseId,
};
use proptest::prelude::*;

use crate::mapping::outbound;

const SHARD: u32 = 3;
const START_MS: u64 = 1_800_000_000_000;
const SKUS: [&str; 2] = ["tea", "cup"];
const WAREHOUSES: [&str; 2] = ["north", "east"];

/// A command before the reservations that it can name are known.
#[derive(Debug, Clone)]
struct Draft {
    what: u32,
    sku: usize,
    warehouse: usize,
    quantity: i64,
    reservation: usize,
}

fn drafts() -> impl Strategy<Value = Vec<(u64, Vec<Draft>)>> {
    let draft = (0..20_u32, 0..2_usize, 0..2_usize, 1..7_i64, 0..3_usize).prop_map(
        |(what, sku, warehouse, quantity, reservation)| Draft {
            what,
            sku,
            warehouse,
            quantity,
            reservation,
        },
    );
    let entry = (0..700_u64, proptest::collection::vec(draft, 0..4));
    proptest::collection::vec(entry, 1..60)
}

fn sku(at: usize) -> Sku {
    Sku::new(SKUS[at]).unwrap()
}

fn warehouse(at: usize) -> WarehouseId {
    WarehouseId::new(WAREHOUSES[at]).unwrap()
}

fn web() -> StorefrontId {
    StorefrontId::new("web").unwrap()
}

fn action(draft: &Draft, made: &[ReservationId]) -> Option<Action> {
    let (sku, warehouse, quantity) = (sku(draft.sku), warehouse(draft.warehouse), draft.quantity);
    let recent = made.len().checked_sub(1 + draft.reservation).map(|at| made[at]);
    // Some units of the first line, or all units.
    let some = LineQuantity {
        line: 0,
        quantity,
        warehouse: None,
    };
    let lines = if quantity < 4 { vec![some] } else { Vec::new() };
    let both = |mode| Action::Reserve {
        storefront: web(),
        lines: (0..2)
            .map(|at| ReserveLine {
                sku: self::sku(at),
                quantity: quantity + at as i64,
                source: Source::Any,
            })
            .collect(),
        ttl_ms: 1_000 * quantity as u64,
        mode,
        sourcing: Sourcing::AsGiven,
    };
    Some(match draft.what {
        0 | 1 => Action::Receive {
            sku,
            warehouse,
            quantity: 3 * quantity,
            supply_id: None,
        },
        2 | 3 => both(ReserveMode::AllOrNothing),
        4 => both(ReserveMode::BestEffort),
        5 => Action::Adjust {
            sku,
            warehouse,
            delta: -quantity,
        },
        6 => Action::Count {
            sku,
            warehouse,
            counted: quantity,
            as_of_seq: None,
        },
        7 => Action::MoveBucket {
            sku,
            warehouse,
            from: Bucket::Free,
            to: Bucket::Damaged,
            quantity,
        },
        8 => Action::AllocatePool {
            sku,
            warehouse,
            storefront: web(),
            target: quantity,
        },
        9 => Action::Extend {
            reservation_id: recent?,
            ttl_ms: 1_000,
        },
        10 | 11 => Action::Commit {
            reservation_id: recent?,
        },
        12 => Action::Release {
            reservation_id: recent?,
        },
        13..=15 => Action::Ship {
            reservation_id: recent?,
            lines,
        },
        16 => Action::Cancel {
            reservation_id: recent?,
            lines,
        },
        _ => Action::Return {
            of: ReturnOf::Reservation {
                reservation_id: recent?,
                lines,
            },
            disposition: Disposition::Restock,
        },
    })
}

/// Returns an id in the form of a UUIDv7.
fn operation_id(number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&START_MS.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80;
    OperationId::from_slice(&bytes).unwrap()
}

/// The ledger's answers after an entry.
struct Answer {
    seq: u64,
    log_time_ms: u64,
    cells: Vec<Vec<v1::Cell>>,
    reservations: Vec<(ReservationId, v1::Reservation)>,
}

#[derive(Default)]
struct Told {
    changes: Vec<v1::Change>,
    /// The answers after each entry that made changes.
    answers: Vec<Answer>,
}

fn tell(entries: &[(u64, Vec<Draft>)]) -> Told {
    let mut ledger = Ledger::new(LedgerOptions::default());
    let (mut told, mut made) = (Told::default(), Vec::new());
    let (mut log_time_ms, mut operations) = (START_MS, 0);
    for ((later_ms, drafts), log_index) in entries.iter().zip(1..) {
        log_time_ms += later_ms;
        let mut commands = Vec::new();
        for draft in drafts {
            let Some(action) = action(draft, &made) else {
                continue;
            };
            operations += 1;
            let operation_id = operation_id(operations);
            if matches!(action, Action::Reserve { .. }) {
                made.push(operation_id);
            }
            commands.push(Command {
                operation_id,
                principal: Principal::new("tester").unwrap(),
                reference: Reference::new(format!("order-{operations}")).unwrap(),
                reason: CallerReason::new("test").unwrap(),
                details: Details::default(),
                action,
            });
        }
        let entry = Entry {
            log_time_ms,
            commands,
        };
        let changes = ledger.apply(log_index, &entry).unwrap().changes;
        let Some(last) = changes.last() else { continue };
        told.answers.push(Answer {
            seq: last.seq,
            log_time_ms,
            cells: (0..SKUS.len()).map(|at| cells(&ledger, at)).collect(),
            reservations: made
                .iter()
                .filter_map(|id| Some((*id, reservation(&ledger, *id)?)))
                .collect(),
        });
        told.changes
            .extend(changes.into_iter().map(|change| outbound::change(SHARD, change)));
    }
    told
}

fn cells(ledger: &Ledger, at: usize) -> Vec<v1::Cell> {
    let query = Query::Cells {
        sku: sku(at),
        warehouse: None,
    };
    match ledger.query(&query).unwrap() {
        QueryReply::Cells(cells) => {
            let mut cells: Vec<v1::Cell> = cells.into_iter().map(outbound::cell).collect();
            cells.sort_by(|a, b| a.warehouse.cmp(&b.warehouse));
            cells
        }
        other => panic!("{other:?}"),
    }
}

fn reservation(ledger: &Ledger, reservation_id: ReservationId) -> Option<v1::Reservation> {
    match ledger.query(&Query::Reservation { reservation_id }).unwrap() {
        QueryReply::Reservation(view) => view.map(|view| {
            let mut told = outbound::reservation(SHARD, view);
            // A line that got no units left no change.
            told.lines.retain(|line| line.granted > 0);
            told
        }),
        other => panic!("{other:?}"),
    }
}

fn as_of<S: Subject>(changes: &[v1::Change], at: At, subject: S) -> Result<(v1::AsOf, S), AsOfError> {
    let mut reading = Reading::new(SHARD, at, subject);
    for change in changes {
        reading.observe(change).unwrap();
    }
    reading.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn as_of_each_entry_stands_what_the_ledger_answered_then(entries in drafts()) {
        let told = tell(&entries);
        for (nth, answer) in told.answers.iter().enumerate() {
            // Several entries may share a log time. A time names the last of them.
            let next = told.answers.get(nth + 1);
            let is_last_of_its_time = next.is_none_or(|next| next.log_time_ms > answer.log_time_ms);
            let mut moments = vec![At::Seq(answer.seq)];
            if is_last_of_its_time {
                moments.push(At::LogTimeMs(answer.log_time_ms));
                moments.extend(next.map(|next| At::LogTimeMs(next.log_time_ms - 1)));
            }
            for at in moments {
                for (which, live) in answer.cells.iter().enumerate() {
                    let (moment, stock) = as_of(&told.changes, at, Stock::new(SKUS[which], "")).unwrap();
                    prop_assert_eq!(&stock.cells(), live);
                    prop_assert_eq!(moment.position.unwrap().seq, answer.seq);
                    prop_assert_eq!(moment.log_time_ms, answer.log_time_ms);
                    prop_assert!(moment.entry_complete);
                }
                for (id, live) in &answer.reservations {
                    let subject = Reservation::new(*id.as_bytes());
                    let (_, subject) = as_of(&told.changes, at, subject).unwrap();
                    prop_assert_eq!(subject.reservation(), Some(live));
                }
            }
        }
    }
}

#[test]
fn the_histories_have_all_that_happens_in_one_shard() {
    use proptest::strategy::ValueTree as _;
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut kinds = std::collections::BTreeSet::new();
    for _ in 0..96 {
        let entries = drafts().new_tree(&mut runner).unwrap().current();
        kinds.extend(tell(&entries).changes.iter().map(v1::Change::kind));
    }
    use v1::ChangeKind::{
        Adjusted, BucketMoved, Cancelled, Committed, Counted, Expired, Extended, PoolAllocated, Received,
        Released, Reserved, Returned, Shipped,
    };
    let expected = [
        Reserved,
        Extended,
        Committed,
        Released,
        Expired,
        Shipped,
        Cancelled,
        Returned,
        Received,
        Adjusted,
        Counted,
        BucketMoved,
        PoolAllocated,
    ];
    for kind in expected {
        assert!(kinds.contains(&kind), "{kind:?} is missing in {kinds:?}");
    }
}
