//! The Dispatch command: the departure of a transfer whose SKUs live in several shards.
//!
//! An order has reserved the units (`order/transfer_order.rs`), so that all of them leave or none. Then each
//! shard sends its own units on their way. They go from committed to in transit, all at once, and count as
//! shipped for their reservation.

use std::collections::BTreeSet;

use crate::{
    Cause, ChangeKind, Position, Refusal, ReservationId, ReservationState, Shortage, Success,
    TRANSFER_STOREFRONT, TransferEffect, Violation, WarehouseId,
};

use super::{
    Ledger,
    cell::{Cell, Deltas, Flow},
    cell_key::CellKey,
    line_step::{LineMove, ReservationSteps},
    reservation::Reservation,
    reservations::vanished,
    stock::{Recording, Step},
    stocking::{cell_or_empty, check_time},
    transfer_commands::on_the_way,
    transfers::{Transfer, TransferredLine},
};

/// A decided Dispatch.
pub(crate) struct DispatchPlan<'a> {
    id: ReservationId,
    from: u16,
    to: &'a WarehouseId,
    expected_at_ms: u64,
}

fn leaving(quantity: i64) -> Deltas {
    Deltas {
        on_hand: -quantity,
        flow: Some(Flow::TransferredOut),
        committed: -quantity,
        ..Deltas::default()
    }
}

/// Returns the open units of a reservation: the line's number, the cell, and the quantity.
fn open(reservation: &Reservation) -> impl Iterator<Item = (u32, CellKey, i64)> {
    let lines = reservation.lines.iter();
    let allocations =
        lines.flat_map(|line| line.allocations.iter().map(move |allocation| (line, allocation)));
    allocations
        .filter(|(_, allocation)| allocation.open > 0)
        .map(|(line, allocation)| {
            let cell = CellKey {
                sku: line.sku,
                warehouse: allocation.warehouse,
            };
            (line.number, cell, allocation.open)
        })
}

impl Ledger {
    /// Returns whether a reservation was made for a transfer over several shards.
    pub(crate) fn is_transfer(&self, reservation: &Reservation) -> bool {
        self.stock.storefronts.name(reservation.storefront).as_str() == TRANSFER_STOREFRONT
    }

    pub(crate) fn decide_dispatch<'a>(
        &self,
        id: ReservationId,
        to: &'a WarehouseId,
        expected_at_ms: u64,
        as_of_seq: Option<u64>,
    ) -> Result<DispatchPlan<'a>, Refusal> {
        let invalid = |what: &str| Err(Refusal::InvalidRequest(what.to_owned()));
        let reservation = &self.reservations.get(&id).ok_or(Refusal::UnknownReservation)?;
        if !self.is_transfer(reservation) {
            return invalid("the reservation is not that of a transfer");
        }
        let first = open(reservation).next();
        let (ReservationState::Committed, Some((_, CellKey { warehouse: from, .. }, _))) =
            (reservation.state, first)
        else {
            return Err(Refusal::WrongState {
                state: reservation.state,
            });
        };
        check_time("expected_at_ms", expected_at_ms)?;
        if self.stock.warehouses.name(from) == to {
            return invalid("to is the warehouse that the transfer leaves");
        }
        if self.transfers.get(&id).is_some() {
            return Err(Refusal::OperationIdReused);
        }
        let mut skus = BTreeSet::new();
        let mut shortages = Vec::new();
        for (line, key, quantity) in open(reservation) {
            if key.warehouse != from || !skus.insert(key.sku) {
                return invalid("a transfer leaves one warehouse, with each SKU in one line");
            }
            let sku = self.stock.skus.name(key.sku);
            let source = self.stock.cell(key);
            let available = source.as_ref().map_or(0, Cell::shippable);
            // If a count has already seen the units leave, they were there.
            if available < quantity && !self.stock.is_counted_since(key, as_of_seq) {
                shortages.push(Shortage {
                    line,
                    sku: sku.clone(),
                    requested: quantity,
                    available,
                });
                continue;
            }
            if let Some(source) = source {
                self.stock
                    .check_goods_fit(Some(key), &source, leaving(quantity), as_of_seq)?;
            }
            let destination = cell_or_empty(&self.stock, sku, to);
            self.stock.check_fits(&destination, &[on_the_way(quantity)])?;
        }
        if !shortages.is_empty() {
            return Err(Refusal::InsufficientStock(shortages));
        }
        self.stock.check_room(None, Some(to), None)?;
        Ok(DispatchPlan {
            id,
            from,
            to,
            expected_at_ms,
        })
    }

    pub(crate) fn execute_dispatch(
        &mut self,
        recording: &mut Recording,
        plan: DispatchPlan<'_>,
        cause: &Cause,
    ) -> Result<Success, Violation> {
        let DispatchPlan {
            id,
            from,
            to,
            expected_at_ms,
        } = plan;
        let from_name = self.stock.warehouses.name(from).clone();
        let effect = |quantity| {
            Some(TransferEffect {
                transfer_id: id,
                from: from_name.clone(),
                to: to.clone(),
                expected_at_ms,
                quantity,
                in_transit: quantity,
            })
        };
        let before = self.reservations.get(&id).ok_or_else(|| vanished(&id))?;
        let steps = ReservationSteps {
            kind: ChangeKind::TransferredOut,
            id,
            storefront: before.storefront,
            state: ReservationState::Shipped,
            expires_at_ms: before.expires_at_ms,
            home: before.home(),
            cause,
        };
        let mut sent = Vec::new();
        // The changes of a reservation are adjacent: first all units leave, then all are on their way.
        for (number, cell, quantity) in open(&before) {
            let requested = before.lines.iter().find(|line| line.number == number);
            let moved = LineMove {
                cell,
                quantity,
                deltas: leaving(quantity),
                sourcing: None,
            };
            let step = steps.on_line((number, requested.map_or(0, |line| line.requested)), moved);
            self.stock.step_telling(recording, step, effect(quantity), None)?;
            sent.push(TransferredLine {
                sku: cell.sku,
                sent: quantity,
                received: 0,
                written_off: 0,
            });
        }
        for line in &sent {
            let sku = self.stock.skus.name(line.sku).clone();
            let step = Step {
                kind: ChangeKind::TransferredOut,
                cell: self.stock.ensure(&sku, to),
                storefront: None,
                deltas: on_the_way(line.sent),
                reservation: None,
                cause,
            };
            self.stock
                .step_telling(recording, step, effect(line.sent), None)?;
        }
        let now_ms = recording.log_time_ms;
        self.reservations.update(&id, &self.options, |reservation| {
            reservation.state = ReservationState::Shipped;
            reservation.closed_at_ms = now_ms.max(1);
            for allocation in reservation
                .lines
                .iter_mut()
                .flat_map(|line| &mut line.allocations)
            {
                allocation.ship(allocation.open);
            }
            Ok(())
        })?;
        let transfer = Transfer {
            from,
            to: self.stock.warehouses.intern(to),
            created_at_ms: now_ms,
            expected_at_ms,
            closed_at_ms: 0,
            reference: cause.reference.clone(),
            home: before.home(),
            lines: sent,
        };
        self.transfers.insert(id, transfer, &self.options)?;
        recording.touched_transfers.push(id);
        Ok(Success::Transitioned {
            position: Position {
                log_index: recording.log_index,
                log_time_ms: now_ms,
            },
            replayed: false,
            state: Some(ReservationState::Shipped),
            expires_at_ms: 0,
        })
    }
}
