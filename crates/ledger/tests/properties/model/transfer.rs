//! The model of transfers and expected supplies, and of the promises that they allow.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::*;

use super::{Key, Model, Place, invalid};

#[derive(Clone)]
pub(crate) struct Transfer {
    pub(crate) from: WarehouseId,
    pub(crate) to: WarehouseId,
    pub(crate) created_at_ms: u64,
    pub(crate) expected_at_ms: u64,
    pub(crate) closed_at_ms: u64,
    pub(crate) reference: Reference,
    pub(crate) lines: Vec<TransferLineView>,
}

const LAST_TIME_MS: u64 = (1 << 48) - 1;

/// Adds up quantities of one SKU, in the place of the first.
fn together(lines: &[TransferLine]) -> Vec<(u32, Sku, i64)> {
    let mut all: Vec<(u32, Sku, i64)> = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        match all.iter_mut().find(|(_, sku, _)| *sku == line.sku) {
            Some(same) => same.2 += line.quantity,
            None => all.push((number as u32, line.sku.clone(), line.quantity)),
        }
    }
    all
}

impl Model {
    pub(super) fn send(&mut self, command: &Command) -> Result<(), Refusal> {
        let Action::TransferOut {
            lines,
            from,
            to,
            expected_at_ms,
        } = &command.action
        else {
            panic!("{command:?}");
        };
        let bad = lines.is_empty() || lines.iter().any(|line| line.quantity < 1) || from == to;
        if bad || *expected_at_ms > LAST_TIME_MS {
            return invalid();
        }
        let mut shortages = Vec::new();
        for (line, sku, requested) in together(lines) {
            let available = self
                .cells
                .get(&(sku.clone(), from.clone()))
                .map_or(0, |cell| cell.free);
            let is_seen = self.is_seen(&(sku.clone(), from.clone()), command);
            if available < requested && !is_seen {
                shortages.push(Shortage {
                    line,
                    sku,
                    requested,
                    available,
                });
            }
        }
        if !shortages.is_empty() {
            return Err(Refusal::InsufficientStock(shortages));
        }
        let mut sent = Vec::new();
        for (_, sku, quantity) in together(lines) {
            let source = (sku.clone(), from.clone());
            if self.is_seen(&source, command) {
                self.note_seen(&source, -quantity);
            } else {
                let cell = self.cells.get_mut(&source).unwrap();
                cell.free -= quantity;
                cell.on_hand -= quantity;
            }
            self.cells.entry((sku.clone(), to.clone())).or_default();
            sent.push(TransferLineView {
                sku,
                sent: quantity,
                received: 0,
                written_off: 0,
                in_transit: quantity,
            });
        }
        let transfer = Transfer {
            from: from.clone(),
            to: to.clone(),
            created_at_ms: self.now_ms,
            expected_at_ms: *expected_at_ms,
            closed_at_ms: 0,
            reference: command.reference.clone(),
            lines: sent,
        };
        self.transfers.insert(command.operation_id, transfer);
        Ok(())
    }

    /// Takes units that arrive. Without a disposition, all of them are lost.
    pub(super) fn arrive(
        &mut self,
        command: &Command,
        id: &TransferId,
        lines: &[TransferLine],
        disposition: Option<Disposition>,
    ) -> Result<(), Refusal> {
        let mut transfer = self.transfers.get(id).ok_or(Refusal::UnknownTransfer)?.clone();
        if transfer.closed_at_ms > 0 {
            return Err(Refusal::TransferClosed);
        }
        if lines.iter().any(|line| line.quantity < 1) {
            return invalid();
        }
        let mut wanted = together(lines);
        if lines.is_empty() {
            let all = transfer.lines.iter();
            wanted = all.map(|line| (0, line.sku.clone(), line.in_transit)).collect();
        }
        for (line, sku, requested) in &wanted {
            let there = transfer.lines.iter().find(|other| other.sku == *sku);
            let available = there.map_or(0, |line| line.in_transit);
            if *requested > available {
                return Err(Refusal::ExceedsLine {
                    line: *line,
                    requested: *requested,
                    available,
                });
            }
        }
        for (_, sku, quantity) in wanted {
            let line = transfer.lines.iter_mut().find(|line| line.sku == sku).unwrap();
            line.in_transit -= quantity;
            match disposition {
                Some(disposition) => {
                    line.received += quantity;
                    let key = (sku, transfer.to.clone());
                    self.bring_back(command, &key, quantity, disposition);
                }
                None => line.written_off += quantity,
            }
        }
        if transfer.lines.iter().all(|line| line.in_transit == 0) {
            transfer.closed_at_ms = self.now_ms;
        }
        self.transfers.insert(*id, transfer);
        Ok(())
    }

    pub(super) fn expect(
        &mut self,
        key: &Key,
        supply_id: &SupplyId,
        quantity: i64,
        at_ms: u64,
    ) -> Result<(), Refusal> {
        if quantity < 0 || at_ms > LAST_TIME_MS {
            return invalid();
        }
        self.cells.entry(key.clone()).or_default();
        self.supplies
            .insert((key.clone(), supply_id.clone()), (quantity, at_ms));
        Ok(())
    }

    pub(crate) fn transfer(&self, id: &TransferId) -> Option<TransferView> {
        let transfer = self.transfers.get(id)?.clone();
        Some(TransferView {
            transfer_id: *id,
            from: transfer.from,
            to: transfer.to,
            created_at_ms: transfer.created_at_ms,
            expected_at_ms: transfer.expected_at_ms,
            closed_at_ms: transfer.closed_at_ms,
            reference: transfer.reference,
            home: None,
            lines: transfer.lines,
        })
    }

    /// Returns the expected arrivals in a cell, with their dates and quantities.
    pub(super) fn coming(&self, key: &Key) -> Vec<(u64, i64)> {
        let mut all = Vec::new();
        for ((other, _), (quantity, at_ms)) in &self.supplies {
            if other == key && *quantity > 0 {
                all.push((*at_ms, *quantity));
            }
        }
        for transfer in self.transfers.values().filter(|transfer| transfer.to == key.1) {
            for line in transfer.lines.iter().filter(|line| line.sku == key.0) {
                if line.in_transit > 0 {
                    all.push((transfer.expected_at_ms, line.in_transit));
                }
            }
        }
        all
    }

    pub(crate) fn in_transit(&self, key: &Key) -> i64 {
        let to_here = self.transfers.values().filter(|transfer| transfer.to == key.1);
        let lines = to_here.flat_map(|transfer| &transfer.lines);
        lines
            .filter(|line| line.sku == key.0)
            .map(|line| line.in_transit)
            .sum()
    }

    /// Lets the goods of each date arrive in a copy of the cells, and computes what could then be sold.
    pub(crate) fn promise(&self, storefront: &StorefrontId, sku: &Sku, until_ms: u64) -> PromiseView {
        let may_borrow = self.policy(sku, storefront).may_borrow;
        let mut cells: BTreeMap<Key, super::Cell> = self.cells.clone();
        cells.retain(|key, _| key.0 == *sku);
        let coming: Vec<(u64, Key, i64)> = cells
            .keys()
            .flat_map(|key| {
                let all = self.coming(key).into_iter();
                all.map(|(at_ms, quantity)| (at_ms, key.clone(), quantity))
            })
            .collect();
        let sellable = |cells: &BTreeMap<Key, super::Cell>| -> i64 {
            let one = |cell: &super::Cell| {
                cell.pools.get(storefront).copied().unwrap_or(0) + if may_borrow { cell.free } else { 0 }
            };
            cells.values().map(one).sum()
        };
        let mut view = PromiseView {
            now_ms: self.now_ms,
            available_now: sellable(&cells),
            dates: Vec::new(),
            overdue: 0,
            owed: cells.values().map(|cell| cell.deficit + cell.backordered).sum(),
        };
        let late = coming.iter().filter(|(at_ms, ..)| *at_ms <= self.now_ms);
        view.overdue = late.map(|(.., quantity)| quantity).sum();
        let dates: BTreeSet<u64> = coming.iter().map(|(at_ms, ..)| *at_ms).collect();
        for at_ms in dates {
            if at_ms <= self.now_ms || at_ms > until_ms {
                continue;
            }
            let mut arriving = 0;
            for (_, key, quantity) in coming.iter().filter(|(other, ..)| *other == at_ms) {
                cells.get_mut(key).unwrap().sell(*quantity);
                arriving += quantity;
            }
            let available = sellable(&cells);
            view.dates.push(PromiseDate {
                at_ms,
                arriving,
                available,
            });
        }
        view
    }

    /// Assigns the existing units to one promise after another.
    pub(crate) fn deficits(&self) -> Vec<DeficitView> {
        let short = self.cells.iter().filter(|(_, cell)| cell.deficit > 0);
        short
            .map(|(key, cell)| {
                let open = |unit: &&super::Unit| {
                    unit.warehouse == key.1 && matches!(unit.place, Place::Held | Place::Committed)
                };
                let mut owners: Vec<_> = self.reservations.iter().collect();
                owners.sort_by_key(|(id, reservation)| (reservation.created_at_ms, **id));
                let mut missing_from_the_end = cell.deficit + cell.backordered;
                let mut reservations = Vec::new();
                for (id, reservation) in owners.into_iter().rev() {
                    let lines = reservation.lines.iter().filter(|line| line.sku == key.0);
                    let quantity = lines.flat_map(|line| &line.units).filter(open).count() as i64;
                    if quantity == 0 {
                        continue;
                    }
                    let short = quantity.min(missing_from_the_end);
                    missing_from_the_end -= short;
                    reservations.insert(
                        0,
                        AffectedReservation {
                            reservation_id: *id,
                            storefront: reservation.storefront.clone(),
                            state: reservation.state,
                            created_at_ms: reservation.created_at_ms,
                            reference: reservation.reference.clone(),
                            quantity,
                            short,
                        },
                    );
                }
                DeficitView {
                    cell: self.view(key),
                    reservations,
                    left_off: 0,
                }
            })
            .collect()
    }
}
