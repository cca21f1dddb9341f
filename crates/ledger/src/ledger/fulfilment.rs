//! The Ship, Cancel and Return commands for a reservation, in whole or in part.
//!
//! Allocations are taken in the order in which lines and warehouses are named. A line without a warehouse
//! takes them in the order of its allocations. Promised units that are missing (a deficit, or backordered)
//! cannot ship. A warehouse ships at most the promised units that are there, and never units that are
//! ring-fenced, kept back, damaged or under inspection.

use std::collections::BTreeMap;

use crate::{
    Cause, ChangeKind, Disposition, LineQuantity, Position, Refusal, ReservationId, ReservationState,
    Shortage, Success, Violation,
    limits::{MAX_COMMAND_CHANGES, MAX_LINES},
};

use super::{
    Ledger,
    cell::{Cell, Deltas, Flow, StepError, into_buckets},
    cell_key::CellKey,
    line_step::{LineMove, ReservationSteps},
    reservation::{LineAllocation, Reservation},
    stock::{Recording, Stock},
    transitions::give_back,
};

/// A decided Ship, Cancel or Return.
pub(crate) struct FulfilmentPlan {
    id: ReservationId,
    what: Fulfilment,
    /// Units by the place of a line in the reservation and the place of an allocation in the line.
    pieces: BTreeMap<(usize, usize), i64>,
    state: ReservationState,
}

/// The fate of the units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fulfilment {
    Ship,
    Cancel,
    Return(Disposition),
}

impl Fulfilment {
    fn available(self, allocation: &LineAllocation) -> i64 {
        match self {
            Self::Ship | Self::Cancel => allocation.open,
            Self::Return(_) => allocation.returnable(),
        }
    }

    fn kind(self) -> ChangeKind {
        match self {
            Self::Ship => ChangeKind::Shipped,
            Self::Cancel => ChangeKind::Cancelled,
            Self::Return(_) => ChangeKind::Returned,
        }
    }
}

fn returned(cell: &Cell, quantity: i64, disposition: Disposition) -> Deltas {
    into_buckets(cell, quantity, disposition, Flow::Returned)
}

fn shipped(quantity: i64) -> Deltas {
    Deltas {
        on_hand: -quantity,
        flow: Some(Flow::Shipped),
        committed: -quantity,
        ..Deltas::default()
    }
}

impl Ledger {
    pub(crate) fn decide_fulfilment(
        &self,
        id: ReservationId,
        what: Fulfilment,
        lines: &[LineQuantity],
        as_of_seq: Option<u64>,
    ) -> Result<FulfilmentPlan, Refusal> {
        check_lines(lines)?;
        let reservation = &self.reservations.get(&id).ok_or(Refusal::UnknownReservation)?;
        if what != Fulfilment::Cancel && self.is_transfer(reservation) {
            return Err(Refusal::InvalidRequest(
                "the units of a transfer are dispatched, not shipped, and arrive elsewhere".to_owned(),
            ));
        }
        let after_commit = match what {
            Fulfilment::Ship | Fulfilment::Cancel => reservation.state == ReservationState::Committed,
            Fulfilment::Return(_) => reservation
                .allocations()
                .any(|allocation| allocation.returnable() > 0),
        };
        if !after_commit {
            return Err(Refusal::WrongState {
                state: reservation.state,
            });
        }
        let pieces = if lines.is_empty() {
            everything(reservation, what)
        } else {
            self.pick(reservation, what, lines)?
        };
        self.check_goods(reservation, what, &pieces, as_of_seq)?;
        let moved: i128 = pieces.values().copied().map(i128::from).sum();
        let sum = |units: fn(&LineAllocation) -> i64| {
            reservation
                .allocations()
                .map(|allocation| i128::from(units(allocation)))
                .sum::<i128>()
        };
        let (open, shipped, returned) = (
            sum(|allocation| allocation.open),
            sum(|allocation| allocation.shipped),
            sum(|allocation| allocation.returned),
        );
        let state = match what {
            Fulfilment::Ship => Reservation::state_after_commit(open - moved, shipped + moved, returned),
            Fulfilment::Cancel => Reservation::state_after_commit(open - moved, shipped, returned),
            Fulfilment::Return(_) => Reservation::state_after_commit(open, shipped, returned + moved),
        };
        Ok(FulfilmentPlan {
            id,
            what,
            pieces,
            state,
        })
    }

    fn pick(
        &self,
        reservation: &Reservation,
        what: Fulfilment,
        wanted: &[LineQuantity],
    ) -> Result<BTreeMap<(usize, usize), i64>, Refusal> {
        let mut pieces: BTreeMap<(usize, usize), i64> = BTreeMap::new();
        for LineQuantity {
            line,
            quantity,
            warehouse,
        } in wanted
        {
            let exceeds = |available| Refusal::ExceedsLine {
                line: *line,
                requested: *quantity,
                available,
            };
            let Ok(at) = reservation.lines.binary_search_by_key(line, |line| line.number) else {
                return Err(exceeds(0));
            };
            let only = match warehouse {
                None => None,
                Some(name) => Some(self.stock.warehouses.find(name).ok_or_else(|| exceeds(0))?),
            };
            let mut missing = *quantity;
            for (place, allocation) in reservation.lines[at].allocations.iter().enumerate() {
                if missing == 0 || only.is_some_and(|only| only != allocation.warehouse) {
                    continue;
                }
                let picked = pieces.get(&(at, place)).copied().unwrap_or(0);
                let take = missing.min(what.available(allocation) - picked);
                if take > 0 {
                    pieces.insert((at, place), picked + take);
                    missing -= take;
                }
            }
            if missing > 0 {
                return Err(exceeds(quantity - missing));
            }
        }
        Ok(pieces)
    }

    /// Refuses if the cells do not have enough units for all pieces together.
    fn check_goods(
        &self,
        reservation: &Reservation,
        what: Fulfilment,
        pieces: &BTreeMap<(usize, usize), i64>,
        as_of_seq: Option<u64>,
    ) -> Result<(), Refusal> {
        let mut totals: BTreeMap<CellKey, i64> = BTreeMap::new();
        let mut shortages = Vec::new();
        let mut changes = 0;
        for ((line, allocation), quantity) in pieces {
            let line = &reservation.lines[*line];
            let key = CellKey {
                sku: line.sku,
                warehouse: line.allocations[*allocation].warehouse,
            };
            let total = totals.entry(key).or_default();
            let is_seen = self.stock.is_counted_since(key, as_of_seq);
            changes += 1 + if is_seen { self.recounts(key, what) } else { 0 };
            let there = self.stock.cell(key).as_ref().map_or(0, Cell::shippable);
            let available = there.saturating_sub(*total).max(0);
            // A count that saw the units leave proves that they were there.
            if what == Fulfilment::Ship && *quantity > available && !is_seen {
                let sku = self.stock.skus.name(line.sku).clone();
                shortages.push(Shortage {
                    line: line.number,
                    sku,
                    requested: *quantity,
                    available,
                });
            }
            *total = total.checked_add(*quantity).ok_or(Refusal::Overflow)?;
        }
        if !shortages.is_empty() {
            return Err(Refusal::InsufficientStock(shortages));
        }
        if changes > MAX_COMMAND_CHANGES {
            return Err(Refusal::LimitReached {
                what: "changes of one late return: book it in parts".to_owned(),
                limit: MAX_COMMAND_CHANGES as u64,
            });
        }
        for (key, total) in totals {
            let Some(cell) = self.stock.cell(key) else {
                continue;
            };
            let deltas = match what {
                Fulfilment::Ship => shipped(total),
                Fulfilment::Return(disposition) => returned(&cell, total, disposition),
                Fulfilment::Cancel => continue,
            };
            self.stock.check_goods_fit(Some(key), &cell, deltas, as_of_seq)?;
        }
        Ok(())
    }

    /// Returns the most recounts that one late movement can need.
    fn recounts(&self, key: CellKey, what: Fulfilment) -> usize {
        match what {
            Fulfilment::Return(Disposition::Damaged | Disposition::QualityHold) => {
                self.stock.cell(key).map_or(0, |cell| 1 + cell.pools.len())
            }
            Fulfilment::Ship | Fulfilment::Cancel | Fulfilment::Return(Disposition::Restock) => 1,
        }
    }

    pub(crate) fn execute_fulfilment(
        &mut self,
        recording: &mut Recording,
        plan: FulfilmentPlan,
        cause: &Cause,
    ) -> Result<Success, Violation> {
        let position = Position {
            log_index: recording.log_index,
            log_time_ms: recording.log_time_ms,
        };
        let state = Some(plan.state);
        let id = plan.id;
        let stock = &mut self.stock;
        self.reservations.update(&id, &self.options, |reservation| {
            move_pieces(stock, recording, reservation, plan, cause)
        })?;
        Ok(Success::Transitioned {
            position,
            replayed: false,
            state,
            expires_at_ms: 0,
        })
    }
}

fn move_pieces(
    stock: &mut Stock,
    recording: &mut Recording,
    reservation: &mut Reservation,
    plan: FulfilmentPlan,
    cause: &Cause,
) -> Result<(), Violation> {
    let FulfilmentPlan {
        id,
        what,
        pieces,
        state,
    } = plan;
    reservation.state = state;
    if !reservation.is_live() {
        reservation.closed_at_ms = recording.log_time_ms.max(1);
    }
    let storefront = reservation.storefront;
    let steps = ReservationSteps {
        kind: what.kind(),
        id,
        storefront,
        state,
        expires_at_ms: reservation.expires_at_ms,
        home: reservation.home(),
        cause,
    };
    for ((line, allocation), quantity) in pieces {
        let line = &mut reservation.lines[line];
        let allocation = &mut line.allocations[allocation];
        let cell = CellKey {
            sku: line.sku,
            warehouse: allocation.warehouse,
        };
        let deltas = match what {
            Fulfilment::Ship => {
                allocation.ship(quantity);
                shipped(quantity)
            }
            Fulfilment::Cancel => {
                allocation.cancelled += quantity;
                Deltas {
                    committed: -quantity,
                    ..give_back(stock, cell, storefront, allocation, (quantity, 0))?
                }
            }
            Fulfilment::Return(disposition) => {
                allocation.returned += quantity;
                let missing = || Violation(format!("there is no cell {cell:?}"));
                returned(&stock.cell(cell).ok_or_else(missing)?, quantity, disposition)
            }
        };
        let moved = LineMove {
            cell,
            quantity,
            deltas,
            sourcing: None,
        };
        stock.step(recording, steps.on_line((line.number, line.requested), moved))?;
    }
    Ok(())
}

fn everything(reservation: &Reservation, what: Fulfilment) -> BTreeMap<(usize, usize), i64> {
    let mut pieces = BTreeMap::new();
    for (at, line) in reservation.lines.iter().enumerate() {
        for (place, allocation) in line.allocations.iter().enumerate() {
            let quantity = what.available(allocation);
            if quantity > 0 {
                pieces.insert((at, place), quantity);
            }
        }
    }
    pieces
}

fn check_lines(lines: &[LineQuantity]) -> Result<(), Refusal> {
    let invalid = |message| Err(Refusal::InvalidRequest(message));
    if lines.len() > MAX_LINES {
        return invalid(format!(
            "{} lines were named, at most {MAX_LINES} are allowed",
            lines.len()
        ));
    }
    match lines.iter().position(|line| line.quantity < 1) {
        Some(at) => invalid(format!(
            "lines[{at}].quantity is {}, it must be at least 1",
            lines[at].quantity
        )),
        None => Ok(()),
    }
}

impl Stock {
    /// Refuses steps whose result does not fit in 64 bits.
    pub(crate) fn check_fits(&self, cell: &Cell, steps: &[Deltas]) -> Result<(), Refusal> {
        let mut trial = cell.clone();
        for deltas in steps {
            // Any other error is a mistake in the decision. The execution of the step reports it.
            if let Err(StepError::Overflow(_)) = trial.step(deltas, self.storefronts.ranks()) {
                return Err(Refusal::Overflow);
            }
        }
        Ok(())
    }
}
