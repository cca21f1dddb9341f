//! A hold that replaces another one, and references that only one hold may have.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::*;
use proptest::prelude::*;

use crate::{
    generate::{STOREFRONTS, id_at, log},
    story::each,
};

type Units = BTreeMap<(Sku, WarehouseId), i64>;

fn view(ledger: &Ledger, reservation_id: ReservationId) -> Option<ReservationView> {
    match ledger.query(&Query::Reservation { reservation_id }).unwrap() {
        QueryReply::Reservation(view) => view,
        other => panic!("{other:?}"),
    }
}

fn cells(ledger: &Ledger) -> Vec<CellView> {
    match ledger
        .query(&Query::ListCells {
            after: None,
            limit: 100,
        })
        .unwrap()
    {
        QueryReply::Cells(cells) => cells,
        other => panic!("{other:?}"),
    }
}

fn granted(view: &ReservationView) -> Units {
    let mut units = Units::new();
    for line in &view.lines {
        for part in &line.allocations {
            let cell = (line.sku.clone(), part.warehouse.clone());
            *units.entry(cell).or_default() += part.from_pool + part.from_free + part.from_backorder;
        }
    }
    units
}

/// Returns the units of each cell that a storefront could have.
fn sellable(ledger: &Ledger, storefront: &str) -> Units {
    let of = |cell: &CellView| {
        let pools = cell.pools.iter();
        let own = pools.filter(|pool| pool.storefront.as_str() == storefront);
        cell.free + own.map(|pool| pool.quantity).sum::<i64>()
    };
    let all = cells(ledger);
    all.iter()
        .map(|cell| ((cell.sku.clone(), cell.warehouse.clone()), of(cell)))
        .collect()
}

fn replacement(entry: &Entry, applied: &Applied) -> Option<(ReservationId, ReservationId)> {
    let command = &entry.commands[0];
    let of = command.details.replaces?;
    matches!(applied.outcomes[0], Ok(Success::Reserved { replayed: false, .. }))
        .then_some((of, command.operation_id))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_replacement_lets_go_of_nothing_that_both_holds_want(drafts in log(40)) {
        each(&drafts, |entry, before, (after, applied)| {
            let Some((old_id, new_id)) = replacement(entry, applied) else { return };
            let old = granted(&view(before, old_id).unwrap());
            let new = view(after, new_id).unwrap();
            assert_eq!(view(after, old_id).unwrap().state, ReservationState::Released);
            assert_eq!(new.state, ReservationState::Held);
            let new = granted(&new);
            let units = |of: &Units, cell: &CellView| {
                of.get(&(cell.sku.clone(), cell.warehouse.clone())).copied().unwrap_or(0)
            };
            for (was, is) in cells(before).iter().zip(&cells(after)) {
                assert_eq!((&was.sku, &was.warehouse), (&is.sku, &is.warehouse));
                assert_eq!(is.held, was.held - units(&old, was) + units(&new, was));
                assert_eq!((was.on_hand, was.committed), (is.on_hand, is.committed));
            }
            for storefront in STOREFRONTS {
                let is = sellable(after, storefront);
                for (cell, was) in sellable(before, storefront) {
                    let of = |units: &Units| units.get(&cell).copied().unwrap_or(0);
                    let dropped = (of(&old) - of(&new)).max(0);
                    assert!(is[&cell] <= was + dropped, "{cell:?} of {entry:?}");
                }
            }
            // The changes of both holds include the units that go over, and no others.
            let told = |kind, id| {
                let of = applied.changes.iter().filter(|change| change.kind == kind);
                let effects = of.filter_map(|change| change.reservation.as_ref());
                let of_id = effects.filter(|effect| effect.reservation_id == id);
                of_id.map(|effect| effect.quantity).sum::<i64>()
            };
            assert_eq!(told(ChangeKind::Released, old_id), old.values().sum::<i64>());
            assert_eq!(told(ChangeKind::Reserved, new_id), new.values().sum::<i64>());
        });
    }

    #[test]
    fn a_replacement_by_other_skus_is_a_release_and_a_reserve(drafts in log(40)) {
        each(&drafts, |entry, before, (after, applied)| {
            let Some((old_id, new_id)) = replacement(entry, applied) else { return };
            let of = |view: ReservationView| -> BTreeSet<Sku> {
                view.lines.into_iter().map(|line| line.sku).collect()
            };
            let skus = of(view(after, old_id).unwrap());
            if !skus.is_disjoint(&of(view(after, new_id).unwrap())) {
                return;
            }
            let mut command = entry.commands[0].clone();
            command.details.replaces = None;
            let release = Command {
                operation_id: id_at(entry.log_time_ms, u64::MAX >> 2),
                details: Details::default(),
                action: Action::Release { reservation_id: old_id },
                ..command.clone()
            };
            let apart = Entry { commands: vec![release, command], ..entry.clone() };
            let mut other = before.clone();
            let outcomes = other.apply(1 << 40, &apart).unwrap().outcomes;
            let lines = |outcome: &Outcome| match outcome {
                Ok(Success::Reserved { lines, .. }) => lines.clone(),
                refused => panic!("{refused:?}"),
            };
            assert_eq!(lines(&outcomes[1]), lines(&applied.outcomes[0]));
            assert_eq!(cells(&other), cells(after));
            for id in [old_id, new_id] {
                assert_eq!(view(&other, id), view(after, id));
            }
        });
    }

    #[test]
    fn at_most_one_hold_or_commit_has_a_reference_to_itself(drafts in log(40)) {
        let mut unique: Vec<(ReservationId, StorefrontId, Reference)> = Vec::new();
        each(&drafts, |entry, _, (after, applied)| {
            let command = &entry.commands[0];
            if let Action::Reserve { storefront, .. } = &command.action
                && command.details.unique_reference
                && matches!(applied.outcomes[0], Ok(Success::Reserved { replayed: false, .. }))
            {
                unique.push((command.operation_id, storefront.clone(), command.reference.clone()));
            }
            let mut taken = BTreeSet::new();
            for (id, storefront, reference) in &unique {
                let state = view(after, *id).map(|view| view.state);
                if matches!(state, Some(ReservationState::Held | ReservationState::Committed)) {
                    let is_first = taken.insert((storefront, reference));
                    assert!(is_first, "{reference:?} of {storefront:?} is taken twice");
                }
            }
            if let Err(Refusal::ReferenceTaken { reservation_id }) = &applied.outcomes[0] {
                let (_, _, reference) = unique.iter().find(|(id, ..)| id == reservation_id).unwrap();
                assert_eq!(reference, &command.reference);
                let state = view(after, *reservation_id).map(|view| view.state);
                let has_ended = matches!(state, None | Some(ReservationState::Released | ReservationState::Expired));
                assert!(!has_ended, "{reference:?} is free");
            }
        });
    }
}
