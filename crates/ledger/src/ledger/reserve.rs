//! Reserve: which units a buyer gets.
//!
//! Lines of one SKU and source are added up under the number of the first. Lines are decided in order, each against what
//! the lines before left. In one warehouse the storefront's pool is taken first, then free where the policy lets it borrow.
//! A policy's `max_per_reservation` limits what all lines of the SKU together can have, as if there were no more stock.
//! With any source one warehouse that fills the whole line is preferred, the first by name; otherwise the line is taken
//! from those with most, the first by name among equals.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::{IndexMap, map::Entry};

use crate::{
    Allocation, Cause, ChangeKind, Command, GrantedLine, Position, Refusal, ReservationEffect,
    ReservationState, ReserveLine, ReserveMode, Shortage, Sku, Source, StorefrontId, Success, Violation,
    hash::FixedState,
};

use super::{
    Ledger,
    cell::{Cell, Deltas},
    participant::OrderLink,
    policies::Policy,
    reservation::{Line, Part, Reservation},
    stock::{CellKey, Recording, Step},
};

/// The most lines of a Reserve, and the most parts of a Ship, Cancel or Return.
pub(crate) const MAX_LINES: usize = 1024;
/// The most warehouses that a line can list.
const MAX_PREFERENCES: usize = 64;
/// 30 days.
pub(crate) const MAX_TTL_MS: u64 = 30 * 24 * 3_600_000;

/// A decided Reserve.
pub(crate) struct ReservePlan<'a> {
    storefront: &'a StorefrontId,
    expires_at_ms: u64,
    lines: Vec<PlannedLine<'a>>,
}

struct PlannedLine<'a> {
    number: u32,
    sku: &'a Sku,
    requested: i64,
    takes: Vec<Take>,
}

/// Units of one cell.
struct Take {
    warehouse: u16,
    from_pool: i64,
    from_free: i64,
}

/// What is asked for.
pub(crate) struct Buying<'a> {
    pub(crate) storefront: &'a StorefrontId,
    /// With their numbers, in order of them.
    pub(crate) lines: Vec<(u32, &'a ReserveLine)>,
    pub(crate) ttl_ms: u64,
    pub(crate) mode: ReserveMode,
    /// Best effort that finds nothing is no refusal.
    pub(crate) may_be_empty: bool,
}

/// Lines added up.
struct Merged<'a> {
    number: u32,
    line: &'a ReserveLine,
    requested: i64,
}

/// What earlier lines of the same request took; empty while the first line is decided.
#[derive(Default)]
struct Taken {
    cells: BTreeMap<CellKey, (i64, i64)>,
    skus: BTreeMap<u32, i64>,
}

/// For whom stock is looked for.
struct Buyer {
    storefront: Option<u16>,
    policy: Policy,
}

/// Checks a time to live and gives the end of a hold.
pub(crate) fn ends_at(now_ms: u64, ttl_ms: u64) -> Result<u64, Refusal> {
    if !(1..=MAX_TTL_MS).contains(&ttl_ms) {
        return Err(Refusal::InvalidRequest(format!(
            "ttl_ms is {ttl_ms}, it must be 1 to {MAX_TTL_MS} (30 days)"
        )));
    }
    now_ms.checked_add(ttl_ms).ok_or(Refusal::Overflow)
}

fn merge<'a>(lines: &[(u32, &'a ReserveLine)]) -> Result<Vec<Merged<'a>>, Refusal> {
    let invalid = |message: String| Err(Refusal::InvalidRequest(message));
    if lines.is_empty() || lines.len() > MAX_LINES {
        return invalid(format!(
            "a reservation has {} lines, it must have 1 to {MAX_LINES}",
            lines.len()
        ));
    }
    for (number, line) in lines {
        if line.quantity < 1 {
            return invalid(format!(
                "lines[{number}].quantity is {}, it must be at least 1",
                line.quantity
            ));
        }
        if let Source::Preference(list) = &line.source {
            let distinct: BTreeSet<_> = list.iter().collect();
            if list.is_empty() || list.len() > MAX_PREFERENCES || distinct.len() != list.len() {
                return invalid(format!(
                    "lines[{number}].source lists {} warehouses, it must list 1 to {MAX_PREFERENCES}, none twice",
                    list.len()
                ));
            }
        }
    }
    if let [(number, line)] = lines {
        return Ok(vec![Merged {
            number: *number,
            line,
            requested: line.quantity,
        }]);
    }
    let mut merged: IndexMap<(&Sku, &Source), Merged<'a>, FixedState> = IndexMap::with_hasher(FixedState);
    for (number, line) in lines {
        match merged.entry((&line.sku, &line.source)) {
            Entry::Occupied(mut first) => {
                let first = first.get_mut();
                first.requested = first
                    .requested
                    .checked_add(line.quantity)
                    .ok_or(Refusal::Overflow)?;
            }
            Entry::Vacant(place) => {
                place.insert(Merged {
                    number: *number,
                    line,
                    requested: line.quantity,
                });
            }
        }
    }
    Ok(merged.into_values().collect())
}

/// The lines of a request as they are answered: number, SKU and units of each, those of one SKU and source added up.
///
/// # Errors
/// [`Refusal::InvalidRequest`] when the lines break a rule.
pub(crate) fn merged_lines(lines: &[ReserveLine]) -> Result<Vec<(u32, &Sku, i64)>, Refusal> {
    let numbered: Vec<(u32, &ReserveLine)> = (0..).zip(lines).collect();
    let merged = merge(&numbered)?;
    Ok(merged
        .into_iter()
        .map(|merged| (merged.number, &merged.line.sku, merged.requested))
        .collect())
}

impl Ledger {
    pub(crate) fn decide_reserve<'a>(
        &self,
        now_ms: u64,
        buying: Buying<'a>,
    ) -> Result<ReservePlan<'a>, Refusal> {
        let Buying {
            storefront,
            lines,
            ttl_ms,
            mode,
            may_be_empty,
        } = buying;
        let expires_at_ms = ends_at(now_ms, ttl_ms)?;
        let merged = merge(&lines)?;
        self.stock.check_room(None, None, Some(storefront))?;
        let number_of_storefront = self.stock.storefronts.find(storefront);
        let single = merged.len() == 1;
        let mut taken = Taken::default();
        let mut shortages = Vec::new();
        let mut planned = Vec::with_capacity(merged.len());
        let mut granted_any = false;
        for Merged {
            number,
            line,
            requested,
        } in merged
        {
            let sku = self.stock.skus.find(&line.sku);
            let policy = sku.map_or_else(Policy::default, |sku| {
                self.policies.get(sku, number_of_storefront)
            });
            let buyer = Buyer {
                storefront: number_of_storefront,
                policy,
            };
            let (takes, available) = match sku {
                Some(sku) => self.take(&buyer, sku, &line.source, requested, &taken),
                None => (Vec::new(), 0),
            };
            granted_any |= !takes.is_empty();
            if available < requested {
                shortages.push(Shortage {
                    line: number,
                    sku: line.sku.clone(),
                    requested,
                    available,
                });
            }
            if !single && let Some(sku) = sku {
                taken.add(sku, &takes);
            }
            planned.push(PlannedLine {
                number,
                sku: &line.sku,
                requested,
                takes,
            });
        }
        let refused = match mode {
            ReserveMode::AllOrNothing => !shortages.is_empty(),
            ReserveMode::BestEffort => !granted_any && !may_be_empty,
        };
        if refused {
            return Err(Refusal::InsufficientStock(shortages));
        }
        for line in &planned {
            self.stock.check_room(Some(line.sku), None, None)?;
        }
        Ok(ReservePlan {
            storefront,
            expires_at_ms,
            lines: planned,
        })
    }

    /// What a line takes, and what it could have had (which ends at the largest i64).
    fn take(
        &self,
        buyer: &Buyer,
        sku: u32,
        source: &Source,
        requested: i64,
        taken: &Taken,
    ) -> (Vec<Take>, i64) {
        let left_by_policy = buyer
            .policy
            .most()
            .saturating_sub(taken.skus.get(&sku).copied().unwrap_or(0));
        let wanted = requested.min(left_by_policy);
        let mut candidates: Vec<Take> = match source {
            Source::Any => self
                .stock
                .cells_of(sku)
                .iter()
                .filter_map(|cell| self.offer(buyer, sku, cell, taken))
                .collect(),
            Source::Warehouse(warehouse) => self.offer_of(buyer, sku, warehouse, taken).into_iter().collect(),
            Source::Preference(list) => list
                .iter()
                .filter_map(|warehouse| self.offer_of(buyer, sku, warehouse, taken))
                .collect(),
        };
        let stocked = candidates
            .iter()
            .fold(0_i64, |sum, take| sum.saturating_add(take.units()));
        if *source == Source::Any {
            match candidates.iter().position(|take| take.units() >= wanted) {
                Some(first) => candidates.swap(0, first),
                // Stable: equals stay in order of name.
                None => candidates.sort_by_key(|take| std::cmp::Reverse(take.units())),
            }
        }
        let mut missing = wanted;
        let mut takes = Vec::with_capacity(1);
        for offer in candidates {
            if missing == 0 {
                break;
            }
            let from_pool = offer.from_pool.min(missing);
            let from_free = offer.from_free.min(missing - from_pool);
            missing -= from_pool + from_free;
            takes.push(Take {
                warehouse: offer.warehouse,
                from_pool,
                from_free,
            });
        }
        (takes, stocked.min(left_by_policy))
    }

    fn offer_of(
        &self,
        buyer: &Buyer,
        sku: u32,
        warehouse: &crate::WarehouseId,
        taken: &Taken,
    ) -> Option<Take> {
        let key = CellKey {
            sku,
            warehouse: self.stock.warehouses.find(warehouse)?,
        };
        self.offer(buyer, sku, self.stock.cell(key)?, taken)
    }

    /// What a cell has for the buyer; None when it has nothing.
    fn offer(&self, buyer: &Buyer, sku: u32, cell: &Cell, taken: &Taken) -> Option<Take> {
        let offer = self.available(buyer.storefront, buyer.policy, cell);
        let key = CellKey {
            sku,
            warehouse: cell.warehouse,
        };
        let (pool_taken, free_taken) = if taken.cells.is_empty() {
            (0, 0)
        } else {
            taken.cells.get(&key).copied().unwrap_or_default()
        };
        let (from_pool, from_free) = (offer.0 - pool_taken, offer.1 - free_taken);
        (from_pool + from_free > 0).then_some(Take {
            warehouse: cell.warehouse,
            from_pool,
            from_free,
        })
    }

    /// What a storefront could have of a cell: from its pool, and from free.
    pub(crate) fn available(&self, storefront: Option<u16>, policy: Policy, cell: &Cell) -> (i64, i64) {
        let ranks = self.stock.storefronts.ranks();
        let from_pool = storefront.map_or(0, |storefront| cell.pool(storefront, ranks));
        (from_pool, if policy.may_borrow { cell.free } else { 0 })
    }

    pub(crate) fn execute_reserve(
        &mut self,
        recording: &mut Recording,
        command: &Command,
        plan: ReservePlan<'_>,
        order: Option<OrderLink>,
    ) -> Result<Success, Violation> {
        let cause = &Cause::of(command);
        let (kind, state) = match order {
            Some(_) => (ChangeKind::Prepared, ReservationState::Prepared),
            None => (ChangeKind::Reserved, ReservationState::Held),
        };
        // Of an order the decision sets it.
        let expires_at_ms = if order.is_some() { 0 } else { plan.expires_at_ms };
        let ReservePlan {
            storefront, lines, ..
        } = plan;
        let reservation_id = command.operation_id;
        let storefront = self.stock.storefronts.intern(storefront);
        let mut kept = Vec::with_capacity(lines.len());
        let mut granted = Vec::with_capacity(lines.len());
        for line in lines {
            let sku = self.stock.intern_sku(line.sku);
            let mut parts = Vec::with_capacity(line.takes.len());
            for Take {
                warehouse,
                from_pool,
                from_free,
            } in line.takes
            {
                let quantity = from_pool + from_free;
                let deltas = Deltas {
                    free: -from_free,
                    pool: (from_pool > 0).then_some((storefront, -from_pool)),
                    held: quantity,
                    ..Deltas::default()
                };
                let reservation = Some(ReservationEffect {
                    reservation_id,
                    line: line.number,
                    state,
                    expires_at_ms,
                    requested: line.requested,
                    quantity,
                    home: order.as_ref().map(|order| order.home),
                });
                let cell = CellKey { sku, warehouse };
                let step = Step {
                    kind,
                    cell,
                    storefront: Some(storefront),
                    deltas,
                    reservation,
                    cause,
                };
                self.stock.step(recording, step)?;
                parts.push(Part::new(warehouse, from_pool, from_free));
            }
            let line = Line {
                number: line.number,
                sku,
                requested: line.requested,
                parts,
            };
            granted.push(self.granted(&line));
            kept.push(line);
        }
        let reservation = Reservation {
            storefront,
            state,
            created_at_ms: recording.log_time_ms,
            expires_at_ms,
            closed_at_ms: 0,
            reference: command.reference.clone(),
            order,
            lines: kept,
        };
        self.reservations
            .insert(reservation_id, reservation, &self.options);
        let position = Position {
            log_index: recording.log_index,
            log_time_ms: recording.log_time_ms,
        };
        Ok(Success::Reserved {
            position,
            replayed: false,
            expires_at_ms,
            lines: granted,
        })
    }

    /// What a line was given at first.
    pub(crate) fn granted(&self, line: &Line) -> GrantedLine {
        GrantedLine {
            line: line.number,
            sku: self.stock.skus.name(line.sku).clone(),
            requested: line.requested,
            granted: line.parts.iter().map(Part::granted).sum(),
            allocations: self.allocations(line),
        }
    }

    pub(crate) fn allocations(&self, line: &Line) -> Vec<Allocation> {
        let allocation = |part: &Part| Allocation {
            warehouse: self.stock.warehouses.name(part.warehouse).clone(),
            from_pool: part.from_pool,
            from_free: part.from_free,
        };
        line.parts.iter().map(allocation).collect()
    }
}

impl Take {
    fn units(&self) -> i64 {
        self.from_pool + self.from_free
    }
}

impl Taken {
    fn add(&mut self, sku: u32, takes: &[Take]) {
        for take in takes {
            let cell = self
                .cells
                .entry(CellKey {
                    sku,
                    warehouse: take.warehouse,
                })
                .or_default();
            cell.0 += take.from_pool;
            cell.1 += take.from_free;
            let of_sku = self.skus.entry(sku).or_default();
            *of_sku = of_sku.saturating_add(take.units());
        }
    }
}
