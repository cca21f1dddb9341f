//! The same log gives the same state, and a preview never differs from the result of applying.

use std::{collections::BTreeMap, mem::discriminant};

use holdfast_ledger::*;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};

use crate::generate::{DraftEntry, Writer, log, options};

fn entries(drafts: &[DraftEntry]) -> Vec<Entry> {
    let mut writer = Writer::new();
    let mut ledger = Ledger::with_rules(options(), Rules::NEWEST);
    let mut entries = Vec::new();
    for draft in drafts {
        let entry = writer.entry(draft);
        let applied = ledger.apply(writer.index, &entry).unwrap();
        writer.learn(&entry, &applied);
        entries.push(entry);
    }
    entries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, ..ProptestConfig::default() })]

    #[test]
    fn a_snapshot_taken_anywhere_changes_nothing(drafts in log(30)) {
        let entries = entries(&drafts);
        let mut steady = Ledger::with_rules(options(), Rules::NEWEST);
        let mut decoded = Ledger::with_rules(options(), Rules::NEWEST);
        for (index, entry) in (1..).zip(&entries) {
            let bytes = decoded.encode();
            decoded = Ledger::decode(&bytes).unwrap();
            prop_assert_eq!(decoded.encode(), bytes);
            let once = steady.apply(index, entry).unwrap();
            let again = decoded.apply(index, entry).unwrap();
            prop_assert_eq!(once, again);
            prop_assert_eq!(steady.digest(), decoded.digest());
            prop_assert_eq!(steady.next_due_ms(), decoded.next_due_ms());
            prop_assert_eq!(steady.cell_count(), decoded.cell_count());
            prop_assert_eq!(steady.live_reservation_count(), decoded.live_reservation_count());
        }
        prop_assert_eq!(<[u8; 32]>::from(blake3::hash(&steady.encode())), steady.digest());
    }

    #[test]
    fn what_a_preview_refuses_or_replays_applying_refuses_or_replays(drafts in log(30)) {
        let mut ledger = Ledger::with_rules(options(), Rules::NEWEST);
        for (index, entry) in (1..).zip(&entries(&drafts)) {
            for command in &entry.commands {
                for later_ms in [0, 1, 700, 5_000] {
                    let log_time_ms = entry.log_time_ms + later_ms;
                    let Some(foreseen) = ledger.preview(log_time_ms, command) else { continue };
                    let mut trial = ledger.clone();
                    let single = Entry { log_time_ms, commands: vec![command.clone()] };
                    let outcome = trial.apply(index, &single).unwrap().outcomes.remove(0);
                    match (&foreseen, &outcome) {
                        (Err(foreseen), Err(refusal)) => {
                            prop_assert_eq!(discriminant(foreseen), discriminant(refusal));
                        }
                        // Without a remembered id, the position is that of the answer.
                        (Ok(Success::Stocked { .. }), Ok(Success::Stocked { replayed: true, .. }))
                            if matches!(command.action, Action::AdvanceConsumer { .. }) => {}
                        _ => prop_assert_eq!(&foreseen, &outcome),
                    }
                }
            }
            ledger.apply(index, entry).unwrap();
        }
    }

    #[test]
    fn no_command_makes_more_changes_than_it_was_weighed_at(drafts in log(30)) {
        for rules in [Rules::First, Rules::NEWEST] {
            let mut ledger = Ledger::with_rules(options(), rules);
            for (index, entry) in (1..).zip(&entries(&drafts)) {
                let alone = |commands| Entry { log_time_ms: entry.log_time_ms, commands };
                let mut swept = ledger.clone();
                swept.apply(index, &alone(Vec::new())).unwrap();
                for command in &entry.commands {
                    let weight = swept.weigh(command, |_| 1);
                    prop_assert!(weight <= Ledger::weigh_blindly(command));
                    let applied = swept.clone().apply(index + 1, &alone(vec![command.clone()])).unwrap();
                    let made = applied.changes.len();
                    prop_assert!(made <= weight, "{:?} makes {:?}", command, applied.changes);
                    for change in applied.changes {
                        prop_assert!(encode_changes(&[change]).len() <= limits::MAX_CHANGE_BYTES);
                    }
                }
                ledger.apply(index, entry).unwrap();
            }
        }
    }

    #[test]
    fn a_refused_command_leaves_nothing_behind(drafts in log(30)) {
        let mut ledger = Ledger::with_rules(options(), Rules::NEWEST);
        let mut without = Ledger::with_rules(options(), Rules::NEWEST);
        for (index, entry) in (1..).zip(&entries(&drafts)) {
            let applied = ledger.apply(index, entry).unwrap();
            let effective = |outcome: &Outcome| !matches!(
                outcome,
                Err(_) | Ok(Success::Reserved { replayed: true, .. })
                    | Ok(Success::Transitioned { replayed: true, .. })
                    | Ok(Success::Stocked { replayed: true, .. })
            );
            let commands: Vec<Command> = entry.commands.iter().zip(&applied.outcomes)
                .filter(|(_, outcome)| effective(outcome))
                .map(|(command, _)| command.clone())
                .collect();
            without.apply(index, &Entry { log_time_ms: entry.log_time_ms, commands }).unwrap();
            prop_assert_eq!(ledger.digest(), without.digest());
        }
    }
}

/// Returns whether the cell of a change has ring-fenced units.
fn beside_a_pool(ledger: &Ledger, change: &Change) -> bool {
    let query = Query::Cells {
        sku: change.sku.clone().unwrap(),
        warehouse: change.warehouse.clone(),
    };
    match ledger.query(&query).unwrap() {
        QueryReply::Cells(cells) => cells.iter().any(|cell| !cell.pools.is_empty()),
        other => panic!("{other:?}"),
    }
}

/// Guards against empty properties: the generated logs must reach everything that the tests above are about.
#[test]
fn generated_logs_reach_every_kind_of_change_and_refusal() {
    let mut runner = TestRunner::deterministic();
    let mut reached: BTreeMap<String, u32> = BTreeMap::new();
    let first_word = |debug: String| debug.split([' ', '(', '{']).next().unwrap_or_default().to_owned();
    let mut deficits = 0;
    for _ in 0..400 {
        let drafts = log(40).new_tree(&mut runner).unwrap().current();
        let mut ledger = Ledger::with_rules(options(), Rules::NEWEST);
        let mut writer = Writer::new();
        for draft in &drafts {
            let entry = writer.entry(draft);
            let applied = ledger.apply(writer.index, &entry).unwrap();
            writer.learn(&entry, &applied);
            let counted = applied
                .changes
                .iter()
                .filter(|change| change.kind == ChangeKind::Counted);
            let recounted: Vec<_> = counted.filter_map(|change| change.cause.operation_id).collect();
            for change in applied.changes {
                *reached.entry(format!("{:?}", change.kind)).or_default() += 1;
                let moved = |bucket| change.moves.iter().find(|moved| moved.bucket == bucket);
                deficits += u32::from(moved(Bucket::Deficit).is_some());
                let backordered = moved(Bucket::Backordered).map_or(0, |moved| moved.delta);
                let special = [
                    (
                        "supply received",
                        change.kind == ChangeKind::Received && change.supply.is_some(),
                    ),
                    ("backordered", backordered > 0),
                    ("backorder filled", backordered < 0),
                    (
                        "backorder beside a pool",
                        backordered > 0 && beside_a_pool(&ledger, &change),
                    ),
                ];
                for (name, happened) in special {
                    *reached.entry(name.to_owned()).or_default() += u32::from(happened);
                }
                let says_when = change.cause.occurred_at_ms.is_some();
                *reached.entry("business time".to_owned()).or_default() += u32::from(says_when);
                if let Some(effect) = change.reservation {
                    *reached.entry(format!("state {:?}", effect.state)).or_default() += 1;
                    if let Some(reason) = effect.sourcing {
                        *reached.entry(format!("because {reason:?}")).or_default() += 1;
                    }
                }
            }
            for (outcome, command) in applied.outcomes.iter().zip(&entry.commands) {
                let details = &command.details;
                let is_count = matches!(command.action, Action::Count { .. });
                let special = [
                    ("late goods", details.as_of_seq.is_some()),
                    (
                        "late goods that were counted",
                        !is_count && recounted.contains(&command.operation_id),
                    ),
                    ("replacement", details.replaces.is_some()),
                    ("reference of its own", details.unique_reference),
                ];
                for (name, happened) in special {
                    *reached.entry(name.to_owned()).or_default() += u32::from(happened && outcome.is_ok());
                }
                let Err(refusal) = outcome else { continue };
                let refused = first_word(format!("refused_{refusal:?}"));
                *reached.entry(refused).or_default() += 1;
                let goods_are_missing = matches!(
                    (refusal, &command.action),
                    (Refusal::InsufficientStock(_), Action::Ship { .. })
                );
                *reached.entry("missing goods".to_owned()).or_default() += u32::from(goods_are_missing);
                let of_a_transfer = matches!(
                    (refusal, &command.action),
                    (Refusal::ExceedsLine { .. }, Action::TransferIn { .. })
                );
                *reached.entry("more than in transit".to_owned()).or_default() += u32::from(of_a_transfer);
            }
        }
    }
    let expected = [
        "Reserved",
        "Extended",
        "Committed",
        "Released",
        "Expired",
        "Shipped",
        "Cancelled",
        "Returned",
        "Received",
        "Adjusted",
        "Counted",
        "BucketMoved",
        "PolicySet",
        "PoolAllocated",
        "TransferredOut",
        "TransferredIn",
        "TransferClosed",
        "SupplyExpected",
        "supply received",
        "refused_UnknownTransfer",
        "refused_TransferClosed",
        "more than in transit",
        "backordered",
        "backorder filled",
        "backorder beside a pool",
        "because OnlySource",
        "because FirstFillingAll",
        "because Preferred",
        "because MostAvailable",
        "because FewestShipments",
        "because SpillOver",
        "because Backordered",
        "state Held",
        "state Committed",
        "state Shipped",
        "state Released",
        "state Expired",
        "state Cancelled",
        "state Returned",
        "refused_InvalidRequest",
        "refused_InsufficientStock",
        "refused_UnknownReservation",
        "refused_WrongState",
        "refused_ExceedsLine",
        "refused_OperationIdReused",
        "refused_OperationIdTooOld",
        "refused_OperationIdFromFuture",
        "refused_PositionInFuture",
        "missing goods",
        "business time",
        "late goods",
        "late goods that were counted",
        "replacement",
        "reference of its own",
        "refused_ReferenceTaken",
    ];
    let rare: Vec<_> = expected
        .iter()
        .filter(|kind| reached.get(**kind).copied().unwrap_or(0) < 5)
        .collect();
    assert!(
        rare.is_empty() && deficits >= 50,
        "hardly reached: {rare:?}, {deficits} deficits, of {reached:?}"
    );
}
