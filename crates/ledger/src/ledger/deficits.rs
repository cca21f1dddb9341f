//! Cells with a deficit, and the reservations that it affects.

use std::collections::BTreeMap;

use crate::{AffectedReservation, DeficitView, Refusal, ReservationId, Sku, WarehouseId};

use super::{Ledger, cell_key::CellKey, reservation::Reservation, transfer_commands::check_page};

/// The most cells of a page.
const MAX_PAGE: u32 = 20;
/// The most reservations that are listed for one cell.
const MAX_AFFECTED: usize = 1_000;

impl Ledger {
    pub(crate) fn deficits(
        &self,
        after: Option<&(Sku, WarehouseId)>,
        limit: u32,
    ) -> Result<Vec<DeficitView>, Refusal> {
        check_page(limit, MAX_PAGE)?;
        let name = |key: &CellKey| {
            let sku = self.stock.skus.name(key.sku);
            (sku, self.stock.warehouses.name(key.warehouse))
        };
        let mut cells: Vec<CellKey> = self.stock.deficits.iter().copied().collect();
        cells.retain(|key| after.is_none_or(|(sku, warehouse)| name(key) > (sku, warehouse)));
        cells.sort_by_key(name);
        cells.truncate(limit as usize);
        let mut affected: BTreeMap<CellKey, Vec<AffectedReservation>> =
            cells.iter().map(|key| (*key, Vec::new())).collect();
        if affected.is_empty() {
            return Ok(Vec::new());
        }
        for (id, reservation) in self.reservations.iter().filter(|(_, other)| other.is_live()) {
            self.collect(id, &reservation, &mut affected);
        }
        let view = |key: CellKey| {
            let cell = self.stock.cell(key)?;
            let mut reservations = affected.remove(&key)?;
            reservations.sort_by_key(|other| (other.created_at_ms, other.reservation_id));
            let mut there = cell.shippable();
            for reservation in &mut reservations {
                let kept = reservation.quantity.min(there);
                there -= kept;
                reservation.short = reservation.quantity - kept;
            }
            let left_off = reservations.len().saturating_sub(MAX_AFFECTED);
            reservations.drain(..left_off);
            Some(DeficitView {
                cell: self.stock.view(key.sku, &cell),
                reservations,
                left_off: left_off as u64,
            })
        };
        Ok(cells.into_iter().filter_map(view).collect())
    }

    /// Adds a reservation to each of the cells where it has open units.
    fn collect(
        &self,
        reservation_id: ReservationId,
        reservation: &Reservation,
        affected: &mut BTreeMap<CellKey, Vec<AffectedReservation>>,
    ) {
        for line in &reservation.lines {
            for allocation in line.allocations.iter().filter(|allocation| allocation.open > 0) {
                let key = CellKey {
                    sku: line.sku,
                    warehouse: allocation.warehouse,
                };
                let Some(list) = affected.get_mut(&key) else {
                    continue;
                };
                match list.last_mut() {
                    Some(last) if last.reservation_id == reservation_id => last.quantity += allocation.open,
                    _ => list.push(AffectedReservation {
                        reservation_id,
                        storefront: self.stock.storefronts.name(reservation.storefront).clone(),
                        state: reservation.state,
                        created_at_ms: reservation.created_at_ms,
                        reference: reservation.reference.clone(),
                        quantity: allocation.open,
                        short: 0,
                    }),
                }
            }
        }
    }
}
