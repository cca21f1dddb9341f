//! Replacement: a hold that takes the place of another one in one step. With it, a cart can change while it
//! holds the last unit.
//!
//! Units that both holds want go over to the new hold and are never given back in between. Units of the old
//! hold count as taken by the new one, line by line, if the SKU is the same and the line's source allows the
//! warehouse. The other units that the new hold wants are reserved as always. The units that it does not want
//! are released. If the new hold is refused, the old hold stays as it was.
//!
//! The changes of the entry are a Release of the old hold and a Reserve of the new one. Each lists all its
//! units, so units that went over are in both. In between they are free for nobody, because an entry happens
//! at once.
//!
//! Over several shards, the new order has the home of the old hold, which decides both in one entry. Until
//! then a participant prepares only the units that the new part wants *beside* the units of the old part, and
//! remembers which of the old units are kept. It moves them when it hears that the new order is held. It also
//! hears that the old hold was released for that reason. If it hears this first, it waits for the news of the
//! new order.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Cause, ChangeKind, Refusal, ReservationId, ReservationState, Settlement, ShardNumber, Source,
    StorefrontId, Verdict, Violation, WarehouseId, limits::MAX_SOURCED_CELLS,
};

use super::{
    Ledger,
    cell::Deltas,
    cell_key::CellKey,
    merged::Merged,
    reservation::{Line, LineAllocation, Reservation},
    stock::Recording,
    takes::Take,
    takes::Takes,
};

/// Units of a hold that go over to a line of the hold that replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The line of the new hold.
    pub(crate) line: u32,
    /// The line of the old hold.
    pub(crate) of_line: u32,
    /// The units, as they were taken for the old hold.
    pub(crate) take: Take,
}

/// A replacement that waits for its decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replacement {
    /// The old hold.
    pub(crate) of: ReservationId,
    /// Units of the old hold in this shard that go over, in order of the new hold's lines.
    pub(crate) kept: Vec<Kept>,
    /// The cause of the new hold's Reserve. The old hold ends with this cause, whichever news arrives first.
    pub(crate) cause: Cause,
}

impl Kept {
    /// Returns the second step of units that go over: it takes them from where the first step has put them.
    fn taken(&self, storefront: u16) -> Deltas {
        let take = &self.take;
        let other = take.from_free + take.from_backorder;
        Deltas {
            free: -other,
            pool: (take.from_pool > 0).then_some((storefront, -take.from_pool)),
            held: take.units(),
            ..Deltas::default()
        }
    }
}

/// Returns the number of kept units of an allocation.
pub(crate) fn kept_of(kept: &[Kept], line: u32, warehouse: u16) -> i64 {
    let of_allocation = kept
        .iter()
        .filter(|kept| kept.of_line == line && kept.take.warehouse == warehouse);
    of_allocation.map(|kept| kept.take.units()).sum()
}

/// Returns the units of a line, each with its step of the cell: kept units first, then units that are taken
/// beside them. No warehouse appears twice.
pub(crate) fn with_kept(
    line: u32,
    kept: &[Kept],
    takes: &Takes,
    storefront: u16,
) -> SmallVec<[(Take, Deltas); 1]> {
    let beside = takes.iter().map(|take| (*take, take.deltas(storefront)));
    if kept.is_empty() {
        return beside.collect();
    }
    let mut all: SmallVec<[(Take, Deltas); 1]> = SmallVec::with_capacity(takes.len());
    let going_over = kept.iter().filter(|kept| kept.line == line);
    let going_over = going_over.map(|kept| (kept.take, kept.taken(storefront)));
    for (take, deltas) in going_over.chain(beside) {
        match all
            .iter_mut()
            .find(|(other, _)| other.warehouse == take.warehouse)
        {
            Some((other, sum)) => {
                other.from_pool += take.from_pool;
                other.from_free += take.from_free;
                other.from_backorder += take.from_backorder;
                *sum = sum.and_of_pool(&deltas);
            }
            None => all.push((take, deltas)),
        }
    }
    all
}

impl Ledger {
    /// Refuses to replace a reservation that is not held. A hold of another storefront counts as unknown.
    pub(crate) fn check_replaceable(
        &self,
        now_ms: u64,
        of: &ReservationId,
        storefront: &StorefrontId,
    ) -> Result<(), Refusal> {
        let own = self.reservations.get(of);
        // The caller must not learn how the hold of another storefront stands.
        let is_of_another = |own: &Reservation| self.stock.storefronts.name(own.storefront) != storefront;
        if own.as_ref().is_some_and(is_of_another) {
            return Err(Refusal::UnknownReservation);
        }
        self.hold_end(now_ms, of, own.as_ref()).map(drop)
    }

    /// Returns the units of a hold in this shard that another hold may keep. The hold must be decided here,
    /// or elsewhere by the given home.
    pub(crate) fn keepable(
        &self,
        of: &ReservationId,
        home_elsewhere: Option<ShardNumber>,
    ) -> Result<Option<Reservation>, Refusal> {
        let Some(old) = self.reservations.get(of) else {
            return Ok(None);
        };
        // In another shard than the home, another hold may have the id.
        let of_this_home = match (old.home(), home_elsewhere) {
            (None, elsewhere) => elsewhere.is_none(),
            (Some(_), None) => self.decides_its_part(of),
            (old_home, elsewhere) => old_home == elsewhere,
        };
        match old.state {
            ReservationState::Held if of_this_home => Ok(Some(old)),
            // The part has not heard yet that it is held.
            ReservationState::Prepared if of_this_home => Err(Refusal::Contended(Vec::new())),
            _ => Ok(None),
        }
    }

    /// Refuses a comparison of too many lines with too many old allocations.
    pub(crate) fn check_compared_allocations(
        &self,
        old: &Reservation,
        lines: &[Merged<'_>],
    ) -> Result<(), Refusal> {
        let mut allocations: BTreeMap<u32, usize> = BTreeMap::new();
        for line in &old.lines {
            *allocations.entry(line.sku).or_default() += line.allocations.len();
        }
        let of_line = |merged: &Merged<'_>| {
            let sku = self.stock.skus.find(&merged.line.sku);
            sku.and_then(|sku| allocations.get(&sku)).copied().unwrap_or(0)
        };
        if lines.iter().map(of_line).sum::<usize>() > MAX_SOURCED_CELLS {
            return Err(Refusal::LimitReached {
                what: "cells of the replaced hold at which one order looks for units, over all its lines: use fewer lines of one SKU"
                    .to_owned(),
                limit: MAX_SOURCED_CELLS as u64,
            });
        }
        Ok(())
    }

    /// Returns the units of an old hold that go over to the lines of a new one. Lines that name their
    /// warehouses choose first.
    pub(crate) fn keep(&self, old: &Reservation, lines: &[Merged<'_>]) -> Vec<Kept> {
        let mut left: Vec<(&Line, &LineAllocation, i64)> = old
            .lines
            .iter()
            .flat_map(|line| {
                line.allocations
                    .iter()
                    .map(move |allocation| (line, allocation, allocation.open))
            })
            .collect();
        let mut by_line: Vec<&Merged<'_>> = lines.iter().collect();
        by_line.sort_by_key(|merged| match merged.line.source {
            Source::Warehouse(_) => 0,
            Source::Preference(_) => 1,
            Source::Any => 2,
        });
        // Each element is a new line, a place in `left`, and units.
        let mut over: Vec<(u32, usize, i64)> = Vec::new();
        for merged in by_line {
            let Some(sku) = self.stock.skus.find(&merged.line.sku) else {
                continue;
            };
            let named: &[WarehouseId] = match &merged.line.source {
                Source::Any => &[],
                Source::Warehouse(only) => std::slice::from_ref(only),
                Source::Preference(list) => list,
            };
            let named = named.iter().filter_map(|name| self.stock.warehouses.find(name));
            let named: BTreeMap<u16, usize> =
                named.enumerate().map(|(rank, number)| (number, rank)).collect();
            let rank = |warehouse: u16| match &merged.line.source {
                Source::Any => Some(0),
                Source::Warehouse(_) | Source::Preference(_) => named.get(&warehouse).copied(),
            };
            let mut places: Vec<(usize, usize)> = left
                .iter()
                .enumerate()
                .filter(|(_, (line, _, units))| line.sku == sku && *units > 0)
                .filter_map(|(place, (_, allocation, _))| Some((rank(allocation.warehouse)?, place)))
                .collect();
            places.sort_unstable();
            let mut wanted = merged.requested;
            for (_, place) in places {
                let units = wanted.min(left[place].2);
                if units == 0 {
                    break;
                }
                left[place].2 -= units;
                wanted -= units;
                over.push((merged.number, place, units));
            }
        }
        over.sort_by_key(|(line, place, _)| (*line, *place));
        let mut kept = Vec::with_capacity(over.len());
        // The pool units and free units of each old allocation that are not dealt out yet.
        let mut dealt: Vec<Option<(i64, i64)>> = vec![None; left.len()];
        for (line, place, units) in over {
            let (old_line, allocation, dropped) = left[place];
            let (pool, free) = dealt[place].get_or_insert_with(|| {
                // The units that are not kept are given back first, as always.
                let (to_pool, _) = allocation.clone().take_back(dropped);
                (allocation.open_from_pool - to_pool, allocation.from_free)
            });
            let from_pool = units.min(*pool);
            let from_free = (units - from_pool).min(*free);
            *pool -= from_pool;
            *free -= from_free;
            kept.push(Kept {
                line,
                of_line: old_line.number,
                take: Take {
                    warehouse: allocation.warehouse,
                    from_pool,
                    from_free,
                    from_backorder: units - from_pool - from_free,
                    reason: allocation.reason,
                },
            });
        }
        kept
    }

    /// Ends the old hold. Kept units are loose until the new hold takes them in the same entry, and the rest
    /// is given back.
    pub(crate) fn end_replaced(
        &mut self,
        recording: &mut Recording,
        replacement: &Replacement,
    ) -> Result<(), Violation> {
        let Replacement { of, kept, cause } = replacement;
        if self.decides_its_part(of) {
            let expires_at_ms = self.reservations.get(of).map_or(0, |own| own.expires_at_ms);
            return self.advance_order(recording, *of, (Verdict::Released, expires_at_ms), kept, cause);
        }
        let old = self.reservations.get(of);
        let is_held = old
            .as_ref()
            .is_some_and(|old| old.state == ReservationState::Held);
        if !is_held && !kept.is_empty() {
            return Err(Violation(format!(
                "hold {of} is replaced and its units are gone: {old:?}"
            )));
        }
        if is_held {
            self.end_hold(recording, *of, ChangeKind::Released, kept, cause)?;
        }
        Ok(())
    }

    /// Returns whether a part must wait with a settlement, because its replacement here must first keep some
    /// of its units.
    pub(crate) fn waits_for_replacement(&self, id: &ReservationId, settlement: &Settlement) -> bool {
        let by = settlement
            .cause
            .operation_id
            .filter(|_| settlement.verdict == Verdict::Released);
        let waiting = by.and_then(|by| self.replacements.get(&by));
        waiting.is_some_and(|replacement| replacement.of == *id) && !self.decides_its_part(id)
    }

    /// Checks the cells whose units went over.
    pub(crate) fn check_kept_cells(
        &self,
        sku_of: impl Fn(u32) -> Option<u32>,
        kept: &[Kept],
    ) -> Result<(), Violation> {
        for kept in kept {
            let sku = sku_of(kept.line).unwrap_or(u32::MAX);
            let key = CellKey {
                sku,
                warehouse: kept.take.warehouse,
            };
            self.stock.check_cell(key)?;
        }
        Ok(())
    }
}
