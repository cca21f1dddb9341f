//! Reserve, unit by unit.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::*;

use super::{Cell, Key, Line, Model, Place, Reservation, Unit, invalid};

impl Model {
    pub(super) fn reserve(
        &mut self,
        command: &Command,
        storefront: &StorefrontId,
        wanted: &[ReserveLine],
        ttl_ms: u64,
        mode: ReserveMode,
    ) -> Outcome {
        if !(1..=2_592_000_000).contains(&ttl_ms) || wanted.is_empty() || wanted.len() > 1024 {
            return invalid();
        }
        for line in wanted {
            let bad_list = match &line.source {
                Source::Preference(list) => {
                    list.is_empty()
                        || list.len() > 64
                        || list.iter().collect::<BTreeSet<_>>().len() < list.len()
                }
                _ => false,
            };
            if line.quantity < 1 || bad_list {
                return invalid();
            }
        }
        let mut cells = self.cells.clone();
        let mut lines: Vec<Line> = Vec::new();
        let mut shortages = Vec::new();
        for (number, first) in wanted.iter().enumerate() {
            let same = |other: &&ReserveLine| other.sku == first.sku && other.source == first.source;
            if wanted[..number].iter().any(|other| same(&other)) {
                continue;
            }
            let requested: i64 = wanted.iter().filter(same).map(|line| line.quantity).sum();
            let policy_key = (first.sku.clone(), storefront.clone());
            let (may_borrow, max) = self.policies.get(&policy_key).copied().unwrap_or((true, 0));
            let had: i64 = lines
                .iter()
                .filter(|line| line.sku == first.sku)
                .map(|line| line.units.len() as i64)
                .sum();
            let allowed = if max == 0 { i64::MAX } else { max - had };
            let goal = requested.min(allowed);

            let offer = |cells: &BTreeMap<Key, Cell>, warehouse: &WarehouseId| match cells
                .get(&(first.sku.clone(), warehouse.clone()))
            {
                None => 0,
                Some(cell) => {
                    cell.pools.get(storefront).copied().unwrap_or(0) + if may_borrow { cell.free } else { 0 }
                }
            };
            let order: Vec<WarehouseId> = match &first.source {
                Source::Warehouse(warehouse) => vec![warehouse.clone()],
                Source::Preference(list) => list.clone(),
                Source::Any => {
                    let mut all: Vec<WarehouseId> = cells
                        .keys()
                        .filter(|key| key.0 == first.sku)
                        .map(|key| key.1.clone())
                        .collect();
                    match all.iter().find(|warehouse| offer(&cells, warehouse) >= goal) {
                        Some(one) => vec![one.clone()],
                        None => {
                            all.sort_by_key(|warehouse| -offer(&cells, warehouse));
                            all
                        }
                    }
                }
            };
            let everywhere: BTreeSet<WarehouseId> = match &first.source {
                Source::Any => cells
                    .keys()
                    .filter(|key| key.0 == first.sku)
                    .map(|key| key.1.clone())
                    .collect(),
                _ => order.iter().cloned().collect(),
            };
            let there: i64 = everywhere.iter().map(|warehouse| offer(&cells, warehouse)).sum();
            let available = there.min(allowed);
            if available < requested {
                let sku = first.sku.clone();
                shortages.push(Shortage {
                    line: number as u32,
                    sku,
                    requested,
                    available,
                });
            }
            let mut units = Vec::new();
            for warehouse in &order {
                while (units.len() as i64) < goal && offer(&cells, warehouse) > 0 {
                    let cell = cells.get_mut(&(first.sku.clone(), warehouse.clone())).unwrap();
                    let pool = cell.pools.entry(storefront.clone()).or_default();
                    let from_pool = *pool > 0;
                    if from_pool {
                        *pool -= 1
                    } else {
                        cell.free -= 1
                    }
                    units.push(Unit {
                        warehouse: warehouse.clone(),
                        from_pool,
                        place: Place::Held,
                    });
                }
            }
            lines.push(Line {
                number: number as u32,
                sku: first.sku.clone(),
                requested,
                units,
            });
        }
        let nothing = lines.iter().all(|line| line.units.is_empty());
        if nothing || mode == ReserveMode::AllOrNothing && !shortages.is_empty() {
            return Err(Refusal::InsufficientStock(shortages));
        }
        let reservation = Reservation {
            storefront: storefront.clone(),
            state: ReservationState::Held,
            created_at_ms: self.now_ms,
            expires_at_ms: self.now_ms + ttl_ms,
            closed_at_ms: 0,
            reference: command.reference.clone(),
            lines,
        };
        let lines = reservation.lines.iter().map(|line| GrantedLine {
            line: line.number,
            sku: line.sku.clone(),
            requested: line.requested,
            granted: line.units.len() as i64,
            allocations: line.allocations(),
        });
        let (position, expires_at_ms) = (self.position, reservation.expires_at_ms);
        let success = Success::Reserved {
            position,
            replayed: false,
            expires_at_ms,
            lines: lines.collect(),
        };
        self.cells = cells;
        self.reservations.insert(command.operation_id, reservation);
        Ok(success)
    }
}
