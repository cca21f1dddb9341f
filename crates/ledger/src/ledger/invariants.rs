//! Invariants that must hold after every entry. A wrong ledger must not go on.

use std::collections::BTreeMap;

use crate::{ReservationId, ReservationState, Violation};

use super::{
    Ledger,
    cell::Cell,
    cell_key::CellKey,
    orders::{Order, OrderState},
    reservation::Reservation,
    snapshot::{deficit_units, deficits},
    stock::Recording,
};
use crate::limits::MAX_48_BITS;

impl Ledger {
    /// Checks each of the orders and transfers that an entry touched, by itself. Cells and reservations are
    /// checked whenever one changes.
    pub(crate) fn check_touched(&self, recording: &mut Recording) -> Result<(), Violation> {
        for id in &recording.touched_orders {
            self.orders.check_one(id).map_err(Violation)?;
        }
        recording.touched_transfers.dedup();
        for id in &recording.touched_transfers {
            if let Some(transfer) = self.transfers.get(id) {
                transfer
                    .check()
                    .map_err(|error| Violation(format!("transfer {id}: {error}")))?;
            }
        }
        Ok(())
    }

    /// Checks every invariant on the whole state.
    ///
    /// # Errors
    /// [`Violation`] names the first invariant that does not hold.
    pub fn check(&self) -> Result<(), Violation> {
        self.check_cells()?;
        self.reservations.check(&self.options)?;
        self.orders.check(&self.options).map_err(Violation)?;
        self.check_promises()?;
        self.check_transfers()?;
        self.policies
            .check(self.stock.skus.len(), self.stock.storefronts.len())
            .map_err(Violation)?;
        let known = |key: CellKey| self.has_cell(key);
        self.stock
            .movements
            .check(self.stock.last_seq, known)
            .map_err(Violation)?;
        self.stock
            .late
            .check(self.stock.last_seq, known)
            .map_err(Violation)?;
        self.supplies.check(|key| self.has_cell(key)).map_err(Violation)?;
        self.consumers
            .check(self.stock.last_seq, self.log_time_ms)
            .map_err(Violation)?;
        let is_there = |id: &ReservationId| self.reservations.contains(id) || self.orders.get(id).is_some();
        self.references.check(is_there).map_err(Violation)?;
        let is_undecided = |id: &ReservationId| {
            let is_prepared = |own: Reservation| own.state == ReservationState::Prepared;
            let is_begun = |order: &Order| order.state == OrderState::Undecided;
            self.reservations.get(id).is_some_and(is_prepared) || self.orders.get(id).is_some_and(is_begun)
        };
        if let Some(id) = self.replacements.keys().find(|id| !is_undecided(id)) {
            return Err(Violation(format!(
                "{id} is still to replace a hold and waits for no decision"
            )));
        }
        for (id, record) in self.operations.iter() {
            let answer = record
                .answer(0)
                .ok_or_else(|| Violation(format!("operation {id} has an unknown answer")))?;
            // Operations and reservations are forgotten from separate queues. So an id from before the window
            // may outlive its reservation, but it gets no answer any more.
            let is_answered = !self.operations.is_too_old(id, self.log_time_ms, &self.options);
            if answer == super::operations::Answer::Reserved && is_answered && !self.reservations.contains(id)
            {
                return Err(Violation(format!(
                    "operation {id} made a reservation that is not there"
                )));
            }
        }
        if self.log_time_ms > MAX_48_BITS || self.log_index.is_some_and(|index| index > MAX_48_BITS) {
            return Err(Violation("log time or index beyond 48 bits".to_owned()));
        }
        Ok(())
    }

    fn has_cell(&self, key: CellKey) -> bool {
        usize::from(key.warehouse) < self.stock.warehouses.len() && self.stock.cell(key).is_some()
    }

    fn check_cells(&self) -> Result<(), Violation> {
        let mut count = 0;
        if self.stock.cells.len() != self.stock.skus.len() {
            return Err(Violation(
                "there are not as many SKUs as lists of cells".to_owned(),
            ));
        }
        for (sku, cells) in self.stock.cells.iter().enumerate() {
            let rank = |warehouse: u16| self.stock.warehouses.ranks().get(usize::from(warehouse));
            let cells: Vec<Cell> = cells.iter().collect();
            let in_order = cells.is_sorted_by(|a, b| rank(a.warehouse) < rank(b.warehouse));
            for cell in &cells {
                let key = CellKey {
                    sku: sku as u32,
                    warehouse: cell.warehouse,
                };
                if rank(cell.warehouse).is_none() || !in_order {
                    return Err(Violation(format!("cell {key:?} is out of place")));
                }
                let pool_rank = |storefront: u16| self.stock.storefronts.ranks().get(usize::from(storefront));
                let pools_in_order = cell
                    .pools
                    .is_sorted_by(|a, b| pool_rank(a.storefront) < pool_rank(b.storefront));
                if !pools_in_order || cell.pools.iter().any(|pool| pool_rank(pool.storefront).is_none()) {
                    return Err(self.cell_violation(key, "its pools are out of place"));
                }
                cell.check().map_err(|error| self.cell_violation(key, &error))?;
                count += 1;
            }
        }
        if count != self.stock.cell_count {
            return Err(Violation(format!(
                "{} cells are counted, there are {count}",
                self.stock.cell_count
            )));
        }
        Ok(())
    }

    /// Checks that the held and committed units of each cell are those of the live reservations.
    fn check_promises(&self) -> Result<(), Violation> {
        let mut promised: BTreeMap<CellKey, (i128, i128)> = BTreeMap::new();
        for (id, reservation) in self.reservations.iter() {
            if usize::from(reservation.storefront) >= self.stock.storefronts.len() {
                return Err(Violation(format!("reservation {id} is of an unknown storefront")));
            }
            for line in &reservation.lines {
                if line.sku as usize >= self.stock.skus.len() {
                    return Err(Violation(format!("reservation {id} has an unknown SKU")));
                }
                for allocation in &line.allocations {
                    let key = CellKey {
                        sku: line.sku,
                        warehouse: allocation.warehouse,
                    };
                    if !self.has_cell(key) {
                        return Err(Violation(format!(
                            "reservation {id} has units in {key:?}, which is not there"
                        )));
                    }
                    let units = promised.entry(key).or_default();
                    if reservation.is_held() {
                        units.0 += i128::from(allocation.open);
                    } else {
                        units.1 += i128::from(allocation.open);
                    }
                }
            }
        }
        for (sku, cells) in self.stock.cells.iter().enumerate() {
            for cell in cells.iter() {
                let key = CellKey {
                    sku: sku as u32,
                    warehouse: cell.warehouse,
                };
                let expected = promised.get(&key).copied().unwrap_or_default();
                if expected != (i128::from(cell.held), i128::from(cell.committed)) {
                    let error = format!("reservations have {expected:?} (held, committed) of {cell:?}");
                    return Err(self.cell_violation(key, &error));
                }
            }
        }
        Ok(())
    }

    /// Checks that the units in transit to each cell are those of the open transfers.
    fn check_transfers(&self) -> Result<(), Violation> {
        let in_transit = self.transfers.check(&self.options).map_err(Violation)?;
        for (id, transfer) in self.transfers.map() {
            let known = |warehouse: u16| usize::from(warehouse) < self.stock.warehouses.len();
            let of_known_cells = transfer
                .lines
                .iter()
                .all(|line| self.has_cell(transfer.destination(line)));
            if !known(transfer.from) || !known(transfer.to) || !of_known_cells {
                return Err(Violation(format!("transfer {id} is of cells that are not there")));
            }
        }
        for (sku, cells) in self.stock.cells.iter().enumerate() {
            for cell in cells.iter() {
                let key = CellKey {
                    sku: sku as u32,
                    warehouse: cell.warehouse,
                };
                let expected = in_transit.get(&key).copied().unwrap_or_default();
                if expected != i128::from(cell.in_transit) {
                    let error = format!("{expected} units are in transit to {cell:?}");
                    return Err(self.cell_violation(key, &error));
                }
            }
        }
        if self.stock.deficits != deficits(&self.stock.cells)
            || self.stock.deficit_units != deficit_units(&self.stock.cells)
        {
            return Err(Violation(
                "the list of deficits or its sum does not follow from the cells".to_owned(),
            ));
        }
        Ok(())
    }

    fn cell_violation(&self, key: CellKey, error: &str) -> Violation {
        let sku = self.stock.skus.name(key.sku);
        let warehouse = self.stock.warehouses.name(key.warehouse);
        Violation(format!("{sku} in {warehouse}: {error}"))
    }
}
