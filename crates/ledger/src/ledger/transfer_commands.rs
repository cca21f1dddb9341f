//! The commands TransferOut, TransferIn and CloseTransfer.
//!
//! Units that leave are taken from free. They are then in transit to the other warehouse, where nobody can
//! sell them before they arrive. They may arrive in parts. Units that never arrive are written off when the
//! transfer is closed: they left the first warehouse and reached no other.
//!
//! Here a TransferOut has SKUs of one shard. `dispatch.rs` has the departure of SKUs over several shards.

use indexmap::{IndexMap, map::Entry};

use crate::{
    Cause, ChangeKind, Disposition, Position, Refusal, Shortage, Sku, Success, TransferEffect, TransferId,
    TransferLine, TransferLineView, TransferView, Violation, WarehouseId,
    hash::FixedState,
    limits::{MAX_COMMAND_CHANGES, MAX_LINES},
};

use super::{
    Ledger,
    cell::{Cell, Deltas, Flow, into_buckets},
    cell_key::CellKey,
    stock::{Recording, Step},
    stocking::{at_least, cell_or_empty, check_time, key_and_cell},
    transfers::{Transfer, TransferredLine},
};

/// The most transfers of a page.
const MAX_PAGE: u32 = 1_000;
/// The number of lines that ends a page. The transfer that reaches it is the last of the page. So many lines
/// take about a megabyte when sent, whatever the names of the SKUs.
const MAX_PAGE_LINES: usize = 8_192;

/// A decided command on a transfer.
pub(crate) enum TransferPlan<'a> {
    Out(Departure<'a>),
    In(Arrival),
}

/// Units that leave.
pub(crate) struct Departure<'a> {
    from: &'a WarehouseId,
    to: &'a WarehouseId,
    expected_at_ms: u64,
    lines: Vec<Merged<'a>>,
}

/// Units that arrive, or that never will.
pub(crate) struct Arrival {
    id: TransferId,
    /// The bucket that they go to. None: they are written off.
    disposition: Option<Disposition>,
    /// The place of each line in the transfer, and its units.
    pieces: Vec<(usize, i64)>,
}

/// Lines of one SKU, added up under the number of the first.
struct Merged<'a> {
    number: u32,
    sku: &'a Sku,
    quantity: i64,
}

fn merge(lines: &[TransferLine]) -> Result<Vec<Merged<'_>>, Refusal> {
    if lines.len() > MAX_LINES {
        return Err(Refusal::InvalidRequest(format!(
            "a transfer has {} lines, it must have at most {MAX_LINES}",
            lines.len()
        )));
    }
    let mut merged: IndexMap<&Sku, Merged<'_>, FixedState> = IndexMap::with_hasher(FixedState);
    for (number, line) in lines.iter().enumerate() {
        at_least(&format!("lines[{number}].quantity"), line.quantity, 1)?;
        match merged.entry(&line.sku) {
            Entry::Occupied(mut first) => {
                let first = first.get_mut();
                first.quantity = first
                    .quantity
                    .checked_add(line.quantity)
                    .ok_or(Refusal::Overflow)?;
            }
            Entry::Vacant(place) => {
                place.insert(Merged {
                    number: number as u32,
                    sku: &line.sku,
                    quantity: line.quantity,
                });
            }
        }
    }
    Ok(merged.into_values().collect())
}

fn leaving(quantity: i64) -> Deltas {
    Deltas {
        on_hand: -quantity,
        flow: Some(Flow::TransferredOut),
        free: -quantity,
        ..Deltas::default()
    }
}

pub(super) fn on_the_way(quantity: i64) -> Deltas {
    Deltas {
        in_transit: quantity,
        ..Deltas::default()
    }
}

fn arriving(cell: &Cell, quantity: i64, disposition: Option<Disposition>) -> Deltas {
    let into = match disposition {
        Some(disposition) => into_buckets(cell, quantity, disposition, Flow::TransferredIn),
        None => Deltas::default(),
    };
    Deltas {
        in_transit: -quantity,
        ..into
    }
}

impl Ledger {
    pub(crate) fn decide_transfer_out<'a>(
        &self,
        id: &TransferId,
        (lines, from, to, expected_at_ms): (&'a [TransferLine], &'a WarehouseId, &'a WarehouseId, u64),
        as_of_seq: Option<u64>,
    ) -> Result<TransferPlan<'a>, Refusal> {
        // The steps of an order leave no operation behind, so its id may belong to a transfer over several
        // shards.
        let is_used = self.transfers.get(id).is_some() || self.orders.get(id).is_some();
        if is_used || self.reservations.contains(id) {
            return Err(Refusal::OperationIdReused);
        }
        if lines.is_empty() {
            return Err(Refusal::InvalidRequest("a transfer has no lines".to_owned()));
        }
        if from == to {
            return Err(Refusal::InvalidRequest(
                "to is the warehouse that the transfer leaves".to_owned(),
            ));
        }
        check_time("expected_at_ms", expected_at_ms)?;
        let lines = merge(lines)?;
        let mut shortages = Vec::new();
        for line in &lines {
            let (key, source) = key_and_cell(&self.stock, line.sku, from);
            let is_seen = key.is_some_and(|key| self.stock.is_counted_since(key, as_of_seq));
            // If a count has already seen the units leave, they were there.
            if source.free < line.quantity && !is_seen {
                shortages.push(Shortage {
                    line: line.number,
                    sku: line.sku.clone(),
                    requested: line.quantity,
                    available: source.free,
                });
                continue;
            }
            self.stock
                .check_goods_fit(key, &source, leaving(line.quantity), as_of_seq)?;
            let destination = cell_or_empty(&self.stock, line.sku, to);
            self.stock
                .check_fits(&destination, &[on_the_way(line.quantity)])?;
        }
        if !shortages.is_empty() {
            return Err(Refusal::InsufficientStock(shortages));
        }
        self.stock.check_room(None, Some(to), None)?;
        Ok(TransferPlan::Out(Departure {
            from,
            to,
            expected_at_ms,
            lines,
        }))
    }

    pub(crate) fn decide_transfer_in(
        &self,
        id: TransferId,
        lines: &[TransferLine],
        disposition: Disposition,
        as_of_seq: Option<u64>,
    ) -> Result<TransferPlan<'static>, Refusal> {
        let transfer = self.open_transfer(&id)?;
        if lines.is_empty() {
            return self.arrival(id, transfer, (Some(disposition), in_transit(transfer)), as_of_seq);
        }
        let mut pieces = Vec::with_capacity(lines.len());
        for line in merge(lines)? {
            let sku = self.stock.skus.find(line.sku);
            let at = transfer.lines.iter().position(|sent| Some(sent.sku) == sku);
            let available = at.map_or(0, |at| transfer.lines[at].in_transit());
            match at {
                Some(at) if line.quantity <= available => pieces.push((at, line.quantity)),
                _ => {
                    return Err(Refusal::ExceedsLine {
                        line: line.number,
                        requested: line.quantity,
                        available,
                    });
                }
            }
        }
        self.arrival(id, transfer, (Some(disposition), pieces), as_of_seq)
    }

    pub(crate) fn decide_close_transfer(&self, id: TransferId) -> Result<TransferPlan<'static>, Refusal> {
        let transfer = self.open_transfer(&id)?;
        self.arrival(id, transfer, (None, in_transit(transfer)), None)
    }

    fn open_transfer(&self, id: &TransferId) -> Result<&Transfer, Refusal> {
        let transfer = self.transfers.get(id).ok_or(Refusal::UnknownTransfer)?;
        if transfer.is_open() {
            Ok(transfer)
        } else {
            Err(Refusal::TransferClosed)
        }
    }

    fn arrival(
        &self,
        id: TransferId,
        transfer: &Transfer,
        (disposition, pieces): (Option<Disposition>, Vec<(usize, i64)>),
        as_of_seq: Option<u64>,
    ) -> Result<TransferPlan<'static>, Refusal> {
        let mut changes = 0;
        for (line, quantity) in &pieces {
            let key = transfer.destination(&transfer.lines[*line]);
            if let Some(cell) = self.stock.cell(key) {
                let deltas = arriving(&cell, *quantity, disposition);
                self.stock.check_goods_fit(Some(key), &cell, deltas, as_of_seq)?;
                changes += if self.stock.is_counted_since(key, as_of_seq) {
                    2 + cell.pools.len()
                } else {
                    1
                };
            }
        }
        if changes > MAX_COMMAND_CHANGES {
            return Err(Refusal::LimitReached {
                what: "changes of one late arrival: book it in parts".to_owned(),
                limit: MAX_COMMAND_CHANGES as u64,
            });
        }
        Ok(TransferPlan::In(Arrival {
            id,
            disposition,
            pieces,
        }))
    }

    pub(crate) fn execute_transfer(
        &mut self,
        recording: &mut Recording,
        id: TransferId,
        plan: TransferPlan<'_>,
        cause: &Cause,
    ) -> Result<Success, Violation> {
        match plan {
            TransferPlan::Out(departure) => self.depart(recording, id, departure, cause)?,
            TransferPlan::In(arrival) => self.arrive(recording, arrival, cause)?,
        }
        Ok(Success::Stocked {
            position: Position {
                log_index: recording.log_index,
                log_time_ms: recording.log_time_ms,
            },
            replayed: false,
            cell: None,
        })
    }

    fn depart(
        &mut self,
        recording: &mut Recording,
        transfer_id: TransferId,
        departure: Departure<'_>,
        cause: &Cause,
    ) -> Result<(), Violation> {
        let Departure {
            from,
            to,
            expected_at_ms,
            lines,
        } = departure;
        let mut sent = Vec::with_capacity(lines.len());
        for Merged { sku, quantity, .. } in lines {
            let source = self.stock.ensure(sku, from);
            let destination = self.stock.ensure(sku, to);
            for (cell, deltas) in [(source, leaving(quantity)), (destination, on_the_way(quantity))] {
                let effect = TransferEffect {
                    transfer_id,
                    from: from.clone(),
                    to: to.clone(),
                    expected_at_ms,
                    quantity,
                    in_transit: quantity,
                };
                let step = step(ChangeKind::TransferredOut, cell, deltas, cause);
                self.stock.step_telling(recording, step, Some(effect), None)?;
            }
            sent.push(TransferredLine {
                sku: source.sku,
                sent: quantity,
                received: 0,
                written_off: 0,
            });
        }
        let transfer = Transfer {
            from: self.stock.warehouses.intern(from),
            to: self.stock.warehouses.intern(to),
            created_at_ms: recording.log_time_ms,
            expected_at_ms,
            closed_at_ms: 0,
            reference: cause.reference.clone(),
            home: None,
            lines: sent,
        };
        self.transfers.insert(transfer_id, transfer, &self.options)?;
        recording.touched_transfers.push(transfer_id);
        Ok(())
    }

    fn arrive(
        &mut self,
        recording: &mut Recording,
        arrival: Arrival,
        cause: &Cause,
    ) -> Result<(), Violation> {
        let Arrival {
            id: transfer_id,
            disposition,
            pieces,
        } = arrival;
        let stock = &mut self.stock;
        let arrived = self.transfers.update(transfer_id, &self.options, |transfer| {
            for (at, quantity) in pieces {
                let line = &mut transfer.lines[at];
                let kind = if disposition.is_some() {
                    line.received += quantity;
                    ChangeKind::TransferredIn
                } else {
                    line.written_off += quantity;
                    ChangeKind::TransferClosed
                };
                let line = &transfer.lines[at];
                let key = transfer.destination(line);
                let missing = || Violation(format!("there is no cell {key:?}"));
                let deltas = arriving(&stock.cell(key).ok_or_else(missing)?, quantity, disposition);
                let effect = TransferEffect {
                    transfer_id,
                    from: stock.warehouses.name(transfer.from).clone(),
                    to: stock.warehouses.name(transfer.to).clone(),
                    expected_at_ms: transfer.expected_at_ms,
                    quantity,
                    in_transit: line.in_transit(),
                };
                stock.step_telling(recording, step(kind, key, deltas, cause), Some(effect), None)?;
            }
            if !transfer.is_open() {
                transfer.closed_at_ms = recording.log_time_ms.max(1);
            }
            Ok(())
        });
        recording.touched_transfers.push(transfer_id);
        arrived.unwrap_or_else(|| {
            Err(Violation(format!(
                "transfer {transfer_id} was decided upon and is not there"
            )))
        })
    }

    pub(crate) fn transfer(&self, id: TransferId) -> Option<TransferView> {
        let transfer = self.transfers.get(&id)?;
        let line = |line: &TransferredLine| TransferLineView {
            sku: self.stock.skus.name(line.sku).clone(),
            sent: line.sent,
            received: line.received,
            written_off: line.written_off,
            in_transit: line.in_transit(),
        };
        Some(TransferView {
            transfer_id: id,
            from: self.stock.warehouses.name(transfer.from).clone(),
            to: self.stock.warehouses.name(transfer.to).clone(),
            created_at_ms: transfer.created_at_ms,
            expected_at_ms: transfer.expected_at_ms,
            closed_at_ms: transfer.closed_at_ms,
            reference: transfer.reference.clone(),
            home: transfer.home,
            lines: transfer.lines.iter().map(line).collect(),
        })
    }

    pub(crate) fn open_transfers(
        &self,
        after: Option<TransferId>,
        limit: u32,
    ) -> Result<Vec<TransferView>, Refusal> {
        check_page(limit, MAX_PAGE)?;
        let ids = self.transfers.open_after(after).take(limit as usize);
        let mut page = Vec::new();
        let mut lines = 0;
        for transfer in ids.filter_map(|id| self.transfer(id)) {
            lines += transfer.lines.len();
            page.push(transfer);
            if lines >= MAX_PAGE_LINES {
                break;
            }
        }
        Ok(page)
    }
}

fn step(kind: ChangeKind, cell: CellKey, deltas: Deltas, cause: &Cause) -> Step<'_> {
    Step {
        kind,
        cell,
        storefront: deltas.pool.map(|(storefront, _)| storefront),
        deltas,
        reservation: None,
        cause,
    }
}

fn in_transit(transfer: &Transfer) -> Vec<(usize, i64)> {
    let all = transfer.lines.iter().map(TransferredLine::in_transit).enumerate();
    all.filter(|(_, quantity)| *quantity > 0).collect()
}

/// Checks the size of a page.
pub(crate) fn check_page(limit: u32, most: u32) -> Result<(), Refusal> {
    if (1..=most).contains(&limit) {
        return Ok(());
    }
    Err(Refusal::InvalidRequest(format!(
        "limit is {limit}, it must be 1 to {most}"
    )))
}
