//! The Reserve command: the choice of the units that a buyer gets.
//!
//! Lines of one SKU and source are added up under the number of the first. Lines are decided in order, and
//! each sees the stock that the lines before it left. `sourcing.rs` chooses the warehouses. A stock policy's
//! `max_per_reservation` limits the sum of all lines of the SKU, as if there were no more stock.
//!
//! With any source, the first warehouse by name that fills the whole line is preferred. If there is no such
//! warehouse, the line is taken from the warehouses with the most units, the first by name among equals.

use std::collections::BTreeMap;

use indexmap::{IndexMap, map::Entry};
use smallvec::{SmallVec, smallvec};

use crate::{
    Action, Allocation, Cause, ChangeKind, Command, GrantedLine, Position, Refusal, ReservationId,
    ReservationState, ReserveLine, ReserveMode, Rules, Shortage, Sku, Source, Sourcing, StorefrontId,
    Success, Violation, WarehouseId,
    hash::FixedState,
    limits::{MAX_LINES, MAX_ORDER_CELLS, MAX_PREFERENCES, MAX_SOURCED_CELLS, MAX_TTL_MS},
};

use super::{
    Ledger,
    cell_key::CellKey,
    line_step::{LineMove, ReservationSteps},
    merged::Merged,
    order_link::OrderLink,
    replacing::{Replacement, with_kept},
    reservation::{Line, LineAllocation, Reservation},
    sourcing::{Buyer, Taken, Wish},
    stock::Recording,
    takes::Takes,
};

/// A decided Reserve.
pub(crate) struct ReservePlan<'a> {
    storefront: &'a StorefrontId,
    expires_at_ms: u64,
    lines: Vec<PlannedLine<'a>>,
    /// The hold that it replaces, and the units that it keeps of that hold.
    replacement: Option<Replacement>,
}

struct PlannedLine<'a> {
    number: u32,
    sku: &'a Sku,
    /// The number of the SKU. None: the SKU is new.
    number_of_sku: Option<u32>,
    requested: i64,
    takes: Takes,
}

/// The request for units.
pub(crate) struct Buying<'a> {
    pub(crate) storefront: &'a StorefrontId,
    /// The lines with their numbers, sorted by number.
    pub(crate) lines: SmallVec<[(u32, &'a ReserveLine); 1]>,
    pub(crate) ttl_ms: u64,
    pub(crate) mode: ReserveMode,
    pub(crate) sourcing: Sourcing,
    /// Whether a best-effort request that finds nothing is accepted.
    pub(crate) may_be_empty: bool,
    /// Whether it may be a part without lines.
    pub(crate) may_have_no_lines: bool,
    /// The hold that it replaces, with that hold's units here and the cause of the replacing Reserve. None if
    /// it replaces no hold, or none with units here.
    pub(crate) old: Option<(ReservationId, Reservation, Cause)>,
}

/// Checks a time to live and returns the end of the hold.
pub(crate) fn ends_at(now_ms: u64, ttl_ms: u64) -> Result<u64, Refusal> {
    if !(1..=MAX_TTL_MS).contains(&ttl_ms) {
        return Err(Refusal::InvalidRequest(format!(
            "ttl_ms is {ttl_ms}, it must be 1 to {MAX_TTL_MS} (30 days)"
        )));
    }
    now_ms.checked_add(ttl_ms).ok_or(Refusal::Overflow)
}

fn merge<'a>(lines: &[(u32, &'a ReserveLine)]) -> Result<SmallVec<[Merged<'a>; 1]>, Refusal> {
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
        if let Source::Preference(list) = &line.source
            && (list.is_empty() || list.len() > MAX_PREFERENCES || names_one_twice(list))
        {
            return invalid(format!(
                "lines[{number}].source lists {} warehouses, it must list 1 to {MAX_PREFERENCES}, none twice",
                list.len()
            ));
        }
    }
    if let [(number, line)] = lines {
        return Ok(smallvec![Merged {
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

fn names_one_twice(list: &[WarehouseId]) -> bool {
    let mut sorted: SmallVec<[&WarehouseId; MAX_PREFERENCES]> = list.iter().collect();
    sorted.sort_unstable();
    sorted.windows(2).any(|pair| pair[0] == pair[1])
}

/// Returns the lines of a request as they are answered: number, SKU and units of each. Lines of one SKU and
/// source are added up.
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

/// Builds the answer to a line whose SKU is unknown.
fn nothing_of(line: u32, sku: &Sku, requested: i64) -> GrantedLine {
    GrantedLine {
        line,
        sku: sku.clone(),
        requested,
        granted: 0,
        allocations: Vec::new(),
    }
}

/// Adds the lines of a Reserve that were answered but not kept, because their SKU was unknown.
pub(crate) fn with_unknown_skus(action: &Action, kept: Vec<GrantedLine>) -> Vec<GrantedLine> {
    let Action::Reserve { lines, .. } = action else {
        return kept;
    };
    if kept.len() == lines.len() {
        return kept;
    }
    let mut kept = kept.into_iter().peekable();
    let asked = merged_lines(lines).unwrap_or_default().into_iter();
    let answer = |(number, sku, requested)| {
        let same = kept.next_if(|line| line.line == number);
        same.unwrap_or_else(|| nothing_of(number, sku, requested))
    };
    asked.map(answer).collect()
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
            sourcing,
            may_be_empty,
            may_have_no_lines,
            old,
        } = buying;
        let expires_at_ms = ends_at(now_ms, ttl_ms)?;
        let has_no_lines = may_have_no_lines && lines.is_empty();
        let merged = if has_no_lines {
            SmallVec::new()
        } else {
            merge(&lines)?
        };
        self.stock.check_room(None, None, Some(storefront))?;
        if self.rules >= Rules::Second {
            self.check_sourced_cells(&merged)?;
        }
        let replacement = match old {
            Some((of, own, cause)) => {
                self.check_compared_allocations(&own, &merged)?;
                let kept = self.keep(&own, &merged);
                Some(Replacement { of, kept, cause })
            }
            None => None,
        };
        let mut kept_units: BTreeMap<u32, i64> = BTreeMap::new();
        for kept in replacement.iter().flat_map(|replacement| &replacement.kept) {
            *kept_units.entry(kept.line).or_default() += kept.take.units();
        }
        let kept = |number: u32| kept_units.get(&number).copied().unwrap_or(0);
        let number_of_storefront = self.stock.storefronts.find(storefront);
        let single = merged.len() == 1;
        let mut taken = Taken::default();
        let mut shortages = Vec::new();
        let mut planned = Vec::with_capacity(merged.len());
        let mut granted_any = false;
        let ranking = self.ranking(sourcing, || {
            let known = merged
                .iter()
                .filter_map(|merged| self.wish(now_ms, number_of_storefront, (merged, kept(merged.number))));
            known.collect()
        });
        for merged in merged.iter().filter(|_| replacement.is_some()) {
            if let Some(sku) = self.stock.skus.find(&merged.line.sku) {
                taken.keep(sku, kept(merged.number));
            }
        }
        for merged in &merged {
            let Merged {
                number,
                line,
                requested,
            } = *merged;
            let kept = kept(number);
            let wish = self.wish(now_ms, number_of_storefront, (merged, kept));
            let (takes, beside) = match &wish {
                Some(_) if kept == requested => (Takes::new(), 0),
                Some((buyer, wish)) => self.take(buyer, wish, &ranking, &taken),
                None => (Takes::new(), 0),
            };
            let available = kept.saturating_add(beside);
            granted_any |= !takes.is_empty() || kept > 0;
            if available < requested {
                shortages.push(Shortage {
                    line: number,
                    sku: line.sku.clone(),
                    requested,
                    available,
                });
            }
            if !single && let Some((_, wish)) = &wish {
                taken.add(wish.sku, &takes);
            }
            planned.push(PlannedLine {
                number,
                sku: &line.sku,
                number_of_sku: wish.as_ref().map(|(_, wish)| wish.sku),
                requested,
                takes,
            });
        }
        let refused = match mode {
            ReserveMode::AllOrNothing => !shortages.is_empty(),
            ReserveMode::BestEffort => !granted_any && !may_be_empty && !has_no_lines,
        };
        if refused {
            return Err(Refusal::InsufficientStock(shortages));
        }
        match self.rules {
            Rules::First => {
                for line in planned.iter().filter(|line| line.number_of_sku.is_none()) {
                    self.stock.check_room(Some(line.sku), None, None)?;
                }
            }
            Rules::Second | Rules::Third => {
                let cells: usize = planned.iter().map(|line| line.takes.len()).sum();
                let cells = cells
                    + replacement
                        .as_ref()
                        .map_or(0, |replacement| replacement.kept.len());
                if cells > MAX_ORDER_CELLS {
                    return Err(Refusal::LimitReached {
                        what: "cells that one order takes units from".to_owned(),
                        limit: MAX_ORDER_CELLS as u64,
                    });
                }
            }
        }
        Ok(ReservePlan {
            storefront,
            expires_at_ms,
            lines: planned,
            replacement,
        })
    }

    /// Refuses a request that would look at too many cells. The refusal itself costs almost nothing.
    fn check_sourced_cells(&self, merged: &[Merged<'_>]) -> Result<(), Refusal> {
        let cells_of = |sku: &Sku| {
            let number = self.stock.skus.find(sku);
            let cells = number.and_then(|number| self.stock.cells.get(number as usize));
            cells.map_or(0, |cells| cells.len())
        };
        let looked_at: usize = merged
            .iter()
            .map(|merged| match &merged.line.source {
                Source::Any => cells_of(&merged.line.sku),
                Source::Warehouse(_) => 1,
                Source::Preference(list) => list.len() / 4,
            })
            .sum();
        if looked_at > MAX_SOURCED_CELLS {
            return Err(Refusal::LimitReached {
                what: "cells at which one order looks for units, over all its lines: name the warehouses of its lines".to_owned(),
                limit: MAX_SOURCED_CELLS as u64,
            });
        }
        Ok(())
    }

    /// Returns the buyer and the wish for a line. None when the SKU is unknown.
    fn wish<'a>(
        &self,
        now_ms: u64,
        storefront: Option<u16>,
        (merged, kept): (&Merged<'a>, i64),
    ) -> Option<(Buyer, Wish<'a>)> {
        let sku = self.stock.skus.find(&merged.line.sku)?;
        let buyer = Buyer {
            storefront,
            policy: self.policies.get(sku, storefront),
            now_ms,
        };
        let wish = Wish {
            sku,
            source: &merged.line.source,
            requested: merged.requested - kept,
        };
        Some((buyer, wish))
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
        // The decision sets the end of an order's hold.
        let expires_at_ms = if order.is_some() { 0 } else { plan.expires_at_ms };
        let ReservePlan {
            storefront,
            lines,
            replacement,
            ..
        } = plan;
        let reservation_id = command.operation_id;
        let is_unique = order.is_none() && command.details.unique_reference;
        let document = is_unique.then(|| (storefront.clone(), command.reference.clone()));
        let storefront = self.stock.storefronts.intern(storefront);
        // In a part of an order, kept units move to the new hold only when the order is held.
        let now = replacement.as_ref().filter(|_| order.is_none());
        if let Some(replacement) = now {
            self.end_replaced(recording, replacement)?;
        }
        let steps = ReservationSteps {
            kind,
            id: reservation_id,
            storefront,
            state,
            expires_at_ms,
            home: order.as_ref().map(|order| order.home),
            cause,
        };
        let kept_now = now.map_or(&[][..], |replacement| &replacement.kept);
        let mut kept = SmallVec::with_capacity(lines.len());
        let mut granted = Vec::with_capacity(lines.len());
        let mut touched = Vec::new();
        for line in lines {
            let sku = match (line.number_of_sku, self.rules) {
                (Some(number), _) => number,
                (None, Rules::First) => self.stock.intern_sku(line.sku),
                // By the second rules a Reserve makes no names. This line got nothing, so it is answered but
                // not kept.
                (None, Rules::Second | Rules::Third) => {
                    granted.push(nothing_of(line.number, line.sku, line.requested));
                    continue;
                }
            };
            let mut allocations = SmallVec::with_capacity(line.takes.len());
            for (take, deltas) in with_kept(line.number, kept_now, &line.takes, storefront) {
                let cell = CellKey {
                    sku,
                    warehouse: take.warehouse,
                };
                let moved = LineMove {
                    cell,
                    quantity: take.units(),
                    deltas,
                    sourcing: Some(take.reason),
                };
                let step = steps.on_line((line.number, line.requested), moved);
                if kept_now.is_empty() {
                    self.stock.step(recording, step)?;
                } else {
                    self.stock.step_loosely(recording, step)?;
                    touched.push(cell);
                }
                allocations.push(LineAllocation::new(take));
            }
            let line = Line {
                number: line.number,
                sku,
                requested: line.requested,
                allocations,
            };
            granted.push(self.granted(&line));
            kept.push(line);
        }
        for cell in touched {
            self.stock.check_cell(cell)?;
        }
        if let Some((storefront, reference)) = document {
            self.references.take(storefront, reference, reservation_id);
        }
        if let Some(replacement) = replacement.filter(|_| order.is_some()) {
            self.replacements.insert(reservation_id, replacement);
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
        if self.has_second_rules() {
            self.reservations
                .insert(reservation_id, &reservation, &self.options)?;
        } else {
            self.reservations
                .overwrite(reservation_id, &reservation, &self.options)?;
        }
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

    /// Returns the units that a line got at first.
    pub(crate) fn granted(&self, line: &Line) -> GrantedLine {
        GrantedLine {
            line: line.number,
            sku: self.stock.skus.name(line.sku).clone(),
            requested: line.requested,
            granted: line.allocations.iter().map(LineAllocation::granted).sum(),
            allocations: self.allocations(line),
        }
    }

    pub(crate) fn allocations(&self, line: &Line) -> Vec<Allocation> {
        let granted = |allocation: &LineAllocation| Allocation {
            warehouse: self.stock.warehouses.name(allocation.warehouse).clone(),
            from_pool: allocation.from_pool,
            from_free: allocation.from_free,
            from_backorder: allocation.from_backorder,
            reason: allocation.reason,
        };
        line.allocations.iter().map(granted).collect()
    }
}
