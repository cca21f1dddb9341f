//! The answers to queries.

use crate::{
    AvailabilityView, CellView, LineView, PolicyView, Query, QueryReply, Refusal, ReservationId,
    ReservationView, Sku, StorefrontId, WarehouseId,
};

use super::{
    Ledger,
    reservation::{Line, LineAllocation},
    transfer_commands::check_page,
};

/// The most cells of a page.
const MAX_PAGE: u32 = 10_000;
/// The most SKUs of one availability query.
const MAX_QUERIED_SKUS: usize = 1024;

impl Ledger {
    /// Answers a query. An unknown SKU has no cells and nothing available. An unknown reservation is None.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] when a limit is out of range.
    pub fn query(&self, query: &Query) -> Result<QueryReply, Refusal> {
        match query {
            Query::Cells { sku, warehouse } => Ok(QueryReply::Cells(self.cells(sku, warehouse.as_ref()))),
            Query::ListCells { after, limit } => {
                check_page(*limit, MAX_PAGE)?;
                Ok(QueryReply::Cells(
                    self.list_cells(after.as_ref(), *limit as usize),
                ))
            }
            Query::Reservation { reservation_id } => {
                Ok(QueryReply::Reservation(self.reservation(reservation_id)))
            }
            Query::Availability { storefront, skus } => {
                if skus.is_empty() || skus.len() > MAX_QUERIED_SKUS {
                    return Err(Refusal::InvalidRequest(format!(
                        "{} SKUs were asked for, there must be 1 to {MAX_QUERIED_SKUS}",
                        skus.len()
                    )));
                }
                Ok(QueryReply::Availability(
                    skus.iter()
                        .map(|sku| self.availability(storefront, sku))
                        .collect(),
                ))
            }
            Query::OrderWork { limit } => Ok(QueryReply::OrderWork(self.order_work(*limit as usize))),
            Query::Consumers => Ok(QueryReply::Consumers(self.consumers().collect())),
            Query::Digest => Ok(QueryReply::Digest(self.digest())),
            Query::Promise {
                storefront,
                sku,
                until_ms,
            } => Ok(QueryReply::Promise(self.promise(storefront, sku, *until_ms))),
            Query::Deficits { after, limit } => {
                self.deficits(after.as_ref(), *limit).map(QueryReply::Deficits)
            }
            Query::Transfer { transfer_id } => Ok(QueryReply::Transfer(self.transfer(*transfer_id))),
            Query::OpenTransfers { after, limit } => {
                self.open_transfers(*after, *limit).map(QueryReply::Transfers)
            }
            Query::Supplies { sku, warehouse } => {
                Ok(QueryReply::Supplies(self.supplies(sku, warehouse.as_ref())))
            }
            Query::Policies { after, limit } => {
                check_page(*limit, MAX_PAGE)?;
                let after = after.as_ref().map(|(sku, storefront)| (sku, storefront));
                Ok(QueryReply::Policies(self.list_policies(after, *limit as usize)))
            }
        }
    }

    fn cells(&self, sku: &Sku, warehouse: Option<&WarehouseId>) -> Vec<CellView> {
        let Some(number) = self.stock.skus.find(sku) else {
            return Vec::new();
        };
        match warehouse {
            Some(warehouse) => {
                let found = self.stock.find(sku, warehouse);
                found
                    .map(|(key, cell)| self.stock.view(key.sku, &cell))
                    .into_iter()
                    .collect()
            }
            None => self
                .stock
                .cells_of(number)
                .map(|cell| self.stock.view(number, &cell))
                .collect(),
        }
    }

    fn list_cells(&self, after: Option<&(Sku, WarehouseId)>, limit: usize) -> Vec<CellView> {
        let skus = self.stock.skus.ordered_from(after.map(|(sku, _)| sku));
        let all = skus.flat_map(|sku| self.stock.cells_of(sku).map(move |cell| (sku, cell)));
        let is_later = |sku: u32, warehouse: u16| match after {
            None => true,
            Some((last_sku, last_warehouse)) => {
                let name = self.stock.skus.name(sku);
                name > last_sku || self.stock.warehouses.name(warehouse) > last_warehouse
            }
        };
        all.skip_while(|(sku, cell)| !is_later(*sku, cell.warehouse))
            .take(limit)
            .map(|(sku, cell)| self.stock.view(sku, &cell))
            .collect()
    }

    fn list_policies(&self, after: Option<(&Sku, &StorefrontId)>, limit: usize) -> Vec<PolicyView> {
        let after = match after {
            None => None,
            Some((sku, storefront)) => {
                let sku = self.stock.skus.find(sku);
                match (sku, self.stock.storefronts.find(storefront)) {
                    (Some(sku), Some(storefront)) => Some((sku, storefront)),
                    // No page ends with a name that is not known.
                    _ => return Vec::new(),
                }
            }
        };
        let policies = self.policies.list(after).take(limit);
        policies
            .map(|((sku, storefront), rules)| PolicyView {
                sku: self.stock.skus.name(sku).clone(),
                storefront: self.stock.storefronts.name(storefront).clone(),
                rules,
            })
            .collect()
    }

    fn availability(&self, storefront: &StorefrontId, sku: &Sku) -> AvailabilityView {
        let storefront = self.stock.storefronts.find(storefront);
        let mut warehouses = Vec::new();
        let mut backorderable = 0;
        if let Some(number) = self.stock.skus.find(sku) {
            let policy = self.policies.get(number, storefront);
            for cell in self.stock.cells_of(number) {
                let (pooled, free) = self.available(storefront, policy, &cell);
                if pooled + free > 0 {
                    warehouses.push((self.stock.warehouses.name(cell.warehouse).clone(), pooled + free));
                }
            }
            if self.stock.cells_of(number).next().is_some() {
                backorderable = self.backorder_room(number, policy, self.log_time_ms);
            }
        }
        AvailabilityView {
            sku: sku.clone(),
            warehouses,
            backorderable,
        }
    }

    fn reservation(&self, id: &ReservationId) -> Option<ReservationView> {
        let reservation = self.reservations.get(id)?;
        let held = reservation.is_held();
        Some(ReservationView {
            reservation_id: *id,
            storefront: self.stock.storefronts.name(reservation.storefront).clone(),
            state: reservation.state,
            created_at_ms: reservation.created_at_ms,
            expires_at_ms: reservation.expires_at_ms,
            reference: reservation.reference.clone(),
            order: self.order_view(id),
            lines: self
                .whole_lines(id, &reservation)
                .iter()
                .map(|line| self.line(line, held))
                .collect(),
        })
    }

    fn line(&self, line: &Line, is_held: bool) -> LineView {
        let sum = |units: fn(&LineAllocation) -> i64| line.allocations.iter().map(units).sum::<i64>();
        let open = sum(|allocation| allocation.open);
        LineView {
            line: line.number,
            sku: self.stock.skus.name(line.sku).clone(),
            requested: line.requested,
            granted: sum(LineAllocation::granted),
            held: if is_held { open } else { 0 },
            committed: if is_held { 0 } else { open },
            shipped: sum(|allocation| allocation.shipped),
            released: sum(|allocation| allocation.released),
            cancelled: sum(|allocation| allocation.cancelled),
            returned: sum(|allocation| allocation.returned),
            allocations: self.allocations(line),
        }
    }
}
