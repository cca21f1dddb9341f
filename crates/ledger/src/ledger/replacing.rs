//! A hold that replaces another one in one step: a cart that changes while it holds the last unit.
//!
//! What both holds want goes over without ever being given back: units of the old hold count as taken by the new one, line by line, where
//! the SKU is the same and the line's source allows the warehouse. What the new hold wants beside them is reserved as always; what it does
//! not want is released. If it cannot be held it is refused, and the old hold stays as it was.
//!
//! The changes of an entry are a Release of the old hold and a Reserve of the new one: each is told whole, and units that went over are in
//! both. In between they are free for nobody, because an entry happens at once.
//!
//! Over several shards the new order has the home of the old hold, which decides both in one entry. Until then a participant prepares
//! only what the new part wants *beside* the units of the old part, and remembers which of those are kept. It moves them when it hears that the
//! new order is held. That the old one was released for that reason it hears too, perhaps first: then it waits for the other.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    Cause, ChangeKind, Refusal, ReservationId, ReservationState, Settlement, ShardNumber, Source,
    StorefrontId, Verdict, Violation, WarehouseId,
    fault::{Fault, is_seeded},
    limits::MAX_SOURCED_CELLS,
};

use super::{
    Ledger,
    cell::Deltas,
    reservation::{Line, Part, Reservation},
    reserve::Merged,
    sourcing::{Take, Takes},
    stock::{CellKey, Recording},
};

/// Units of a hold that go over to a line of the one that replaces it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// The line of the new hold.
    pub(crate) line: u32,
    /// The line of the old hold.
    pub(crate) of_line: u32,
    /// As they were taken for the old hold.
    pub(crate) take: Take,
}

/// A replacement that waits for its decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Replacement {
    /// The old hold.
    pub(crate) of: ReservationId,
    /// Its units in this shard that go over, in order of the new hold's lines.
    pub(crate) kept: Vec<Kept>,
    /// The new hold's Reserve, which is why the old hold ends, whatever is heard of the new one first.
    pub(crate) cause: Cause,
}

impl Kept {
    /// What going over does to a cell at the second step: the units are taken from where the first step put them.
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

/// How many units of a part are kept.
pub(crate) fn kept_of(kept: &[Kept], line: u32, warehouse: u16) -> i64 {
    let of_part = kept
        .iter()
        .filter(|kept| kept.of_line == line && kept.take.warehouse == warehouse);
    of_part.map(|kept| kept.take.units()).sum()
}

/// What a line gets: units that go over, then those that are taken beside them, no warehouse twice. With each, what it does to the cell.
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
    /// Refuses to replace what is not held, and does not know a hold of another storefront.
    pub(crate) fn check_replaceable(
        &self,
        now_ms: u64,
        of: &ReservationId,
        storefront: &StorefrontId,
    ) -> Result<(), Refusal> {
        let own = self.reservations.get(of);
        // Nobody learns here how the hold of another storefront stands.
        let is_of_another = |own: &Reservation| self.stock.storefronts.name(own.storefront) != storefront;
        if own.as_ref().is_some_and(is_of_another) {
            return Err(Refusal::UnknownReservation);
        }
        self.hold_end(now_ms, of, own.as_ref()).map(drop)
    }

    /// The units of a hold in this shard that another hold may keep: one that is decided here, or that has this home elsewhere.
    pub(crate) fn keepable(
        &self,
        of: &ReservationId,
        home_elsewhere: Option<ShardNumber>,
    ) -> Result<Option<Reservation>, Refusal> {
        let Some(old) = self.reservations.get(of) else {
            return Ok(None);
        };
        // Another hold may have the id in another shard than the home.
        let of_this_home = match (old.home(), home_elsewhere) {
            (None, elsewhere) => elsewhere.is_none(),
            (Some(_), None) => self.decides_its_part(of),
            (old_home, elsewhere) => old_home == elsewhere,
        };
        match old.state {
            ReservationState::Held if of_this_home => Ok(Some(old)),
            // It has not heard yet that it is held.
            ReservationState::Prepared if of_this_home && is_seeded(Fault::KeepsUnheardUnits) => {
                Ok(Some(old))
            }
            ReservationState::Prepared if of_this_home => Err(Refusal::Contended(Vec::new())),
            _ => Ok(None),
        }
    }

    /// Refuses to compare too many lines with too many old parts.
    pub(crate) fn check_compared_parts(
        &self,
        old: &Reservation,
        lines: &[Merged<'_>],
    ) -> Result<(), Refusal> {
        let mut parts: BTreeMap<u32, usize> = BTreeMap::new();
        for line in &old.lines {
            *parts.entry(line.sku).or_default() += line.parts.len();
        }
        let of_line = |merged: &Merged<'_>| {
            let sku = self.stock.skus.find(&merged.line.sku);
            sku.and_then(|sku| parts.get(&sku)).copied().unwrap_or(0)
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

    /// Which units of an old hold go over to the lines of a new one. Lines that name their warehouses choose first.
    pub(crate) fn keep(&self, old: &Reservation, lines: &[Merged<'_>]) -> Vec<Kept> {
        let mut left: Vec<(&Line, &Part, i64)> = old
            .lines
            .iter()
            .flat_map(|line| line.parts.iter().map(move |part| (line, part, part.open)))
            .collect();
        let mut by_line: Vec<&Merged<'_>> = lines.iter().collect();
        by_line.sort_by_key(|merged| match merged.line.source {
            Source::Warehouse(_) => 0,
            Source::Preference(_) => 1,
            Source::Any => 2,
        });
        // New line, place in `left`, units.
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
                .filter_map(|(place, (_, part, _))| Some((rank(part.warehouse)?, place)))
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
        // Of each old part: pool units, free units that are not dealt out yet.
        let mut dealt: Vec<Option<(i64, i64)>> = vec![None; left.len()];
        for (line, place, units) in over {
            let (old_line, part, dropped) = left[place];
            let (pool, free) = dealt[place].get_or_insert_with(|| {
                // What is dropped is given back first, as always.
                let (to_pool, _) = part.clone().take_back(dropped);
                (part.open_from_pool - to_pool, part.from_free)
            });
            let from_pool = units.min(*pool);
            let from_free = (units - from_pool).min(*free);
            *pool -= from_pool;
            *free -= from_free;
            kept.push(Kept {
                line,
                of_line: old_line.number,
                take: Take {
                    warehouse: part.warehouse,
                    from_pool,
                    from_free,
                    from_backorder: units - from_pool - from_free,
                    reason: part.reason,
                },
            });
        }
        kept
    }

    /// The old hold ends here: what is kept is loose until the new hold takes it in the same entry, the rest is given back.
    pub(crate) fn end_replaced(
        &mut self,
        recording: &mut Recording,
        replacement: &Replacement,
    ) -> Result<(), Violation> {
        let Replacement { of, kept, cause } = replacement;
        if self.decides_its_part(of) {
            if kept.is_empty() && is_seeded(Fault::LeavesReplaced) {
                return Ok(());
            }
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

    /// Does a part have to wait with a settlement, because what replaces it here is to keep some of its units?
    pub(crate) fn waits_for_replacement(&self, id: &ReservationId, settlement: &Settlement) -> bool {
        let by = settlement
            .cause
            .operation_id
            .filter(|_| settlement.verdict == Verdict::Released);
        let waiting = by.and_then(|by| self.replacements.get(&by));
        let waits = waiting.is_some_and(|replacement| replacement.of == *id) && !self.decides_its_part(id);
        waits && !is_seeded(Fault::ReleasesReplacedAtOnce)
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
