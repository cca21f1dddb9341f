//! The model of Reserve, unit by unit.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::*;

use super::{
    Cell, Key, Line, Model, Origin, Place, Reservation, StockPolicy, Unit, invalid,
    replace::{Over, in_order, kept_by},
};

impl Model {
    pub(super) fn reserve(
        &mut self,
        command: &Command,
        storefront: &StorefrontId,
        wanted: &[ReserveLine],
        ttl_ms: u64,
        mode: ReserveMode,
        sourcing: Sourcing,
    ) -> Outcome {
        self.check_alone(command, storefront)?;
        let old = self.replaced(command, storefront)?;
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
        let together = together(wanted);
        let over = match &old {
            Some(old) => self.over(old, &together),
            None => Over::new(),
        };
        let kept_by = |place: usize| old.as_ref().map(|old| kept_by(old, &over, place));
        let kept_units = |place: usize| kept_by(place).map_or(0, |kept| kept.units.len() as i64);
        // The units that are wanted beside the units that go over.
        let beside: Vec<ReserveLine> = together
            .iter()
            .map(|(place, line)| ReserveLine {
                quantity: line.quantity - kept_units(*place),
                ..line.clone()
            })
            .collect();
        let ranking = self.ranking(storefront, &beside);
        let mut cells = self.cells.clone();
        let mut lines: Vec<Line> = Vec::new();
        let mut shortages = Vec::new();
        for ((number, line), first) in together.iter().zip(&beside) {
            let number = *number;
            let requested = line.quantity;
            let kept = kept_units(number);
            let policy = self.policy(&first.sku, storefront);
            let max = policy.max_per_reservation;
            let had: i64 = lines
                .iter()
                .filter(|line| line.sku == first.sku)
                .map(|line| line.units.len() as i64)
                .sum();
            let later = together
                .iter()
                .filter(|(other, line)| *other >= number && line.sku == first.sku);
            let to_have: i64 = later.map(|(other, _)| kept_units(*other)).sum();
            let allowed = if max == 0 {
                i64::MAX
            } else {
                0.max(max - had - to_have)
            };
            let goal = first.quantity.min(allowed);

            let offer = |cells: &BTreeMap<Key, Cell>, warehouse: &WarehouseId| {
                offered(cells, &policy, &first.sku, storefront, warehouse)
            };
            let allowed_ones = allowed_warehouses(&cells, first);
            let mut order = allowed_ones.clone();
            let most =
                |order: &mut Vec<WarehouseId>| order.sort_by_key(|warehouse| -offer(&cells, warehouse));
            let first_reason = match (&first.source, sourcing) {
                (Source::Warehouse(_), _) => SourcingReason::OnlySource,
                (Source::Preference(_), Sourcing::AsGiven) => SourcingReason::Preferred,
                (Source::Any, Sourcing::AsGiven) => {
                    match order.iter().find(|warehouse| offer(&cells, warehouse) >= goal) {
                        Some(one) => {
                            order = vec![one.clone()];
                            SourcingReason::FirstFillingAll
                        }
                        None => {
                            most(&mut order);
                            SourcingReason::MostAvailable
                        }
                    }
                }
                (_, Sourcing::Balance) => {
                    most(&mut order);
                    SourcingReason::MostAvailable
                }
                (_, Sourcing::FewestShipments) => {
                    most(&mut order);
                    let ranked = ranking.iter().filter(|warehouse| order.contains(warehouse));
                    let others = order.iter().filter(|warehouse| !ranking.contains(warehouse));
                    order = ranked.chain(others).cloned().collect();
                    SourcingReason::FewestShipments
                }
            };
            let there: i64 = allowed_ones
                .iter()
                .map(|warehouse| offer(&cells, warehouse))
                .sum();
            let mut beyond = self.backorderable(&first.sku, storefront, &cells);
            let waiting_place = self.waiting_place(&cells, first);
            if waiting_place.is_none() {
                beyond = 0;
            }
            let available = if first.quantity == 0 {
                0
            } else {
                (there + beyond).min(allowed)
            };
            let available = kept + available;
            if available < requested {
                let sku = first.sku.clone();
                shortages.push(Shortage {
                    line: number as u32,
                    sku,
                    requested,
                    available,
                });
            }
            let mut units: Vec<Unit> = Vec::new();
            let mut reasons: BTreeMap<WarehouseId, SourcingReason> = BTreeMap::new();
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
                    let is_ranked = sourcing == Sourcing::FewestShipments && ranking.contains(warehouse);
                    let reason = if reasons.is_empty() && first_reason != SourcingReason::FewestShipments
                        || is_ranked
                    {
                        first_reason
                    } else {
                        SourcingReason::SpillOver
                    };
                    reasons.entry(warehouse.clone()).or_insert(reason);
                    units.push(Unit {
                        warehouse: warehouse.clone(),
                        origin: if from_pool { Origin::Pool } else { Origin::Free },
                        place: Place::Held,
                    });
                }
            }
            while (units.len() as i64) < goal && beyond > 0 {
                let warehouse = waiting_place.clone().unwrap();
                reasons
                    .entry(warehouse.clone())
                    .or_insert(SourcingReason::Backordered);
                let key = (first.sku.clone(), warehouse.clone());
                cells.get_mut(&key).unwrap().backordered += 1;
                beyond -= 1;
                units.push(Unit {
                    warehouse,
                    origin: Origin::Backorder,
                    place: Place::Held,
                });
            }
            let mut line = Line {
                number: number as u32,
                sku: first.sku.clone(),
                requested,
                units,
                reasons,
            };
            if let Some(kept) = kept_by(number) {
                line.units = [kept.units, line.units].concat();
                line.reasons.extend(kept.reasons);
                in_order(&mut line);
            }
            lines.push(line);
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
            is_unique: command.details.unique_reference,
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
        if let Some(old) = command.details.replaces {
            self.end_replaced(&old, &over);
        }
        self.reservations.insert(command.operation_id, reservation);
        Ok(success)
    }

    /// Returns the warehouse where a line waits for missing units.
    fn waiting_place(&self, cells: &BTreeMap<Key, Cell>, line: &ReserveLine) -> Option<WarehouseId> {
        let mut places = allowed_warehouses(cells, line);
        places.retain(|warehouse| cells.contains_key(&(line.sku.clone(), warehouse.clone())));
        if line.source == Source::Any {
            places.sort_by_key(|warehouse| {
                let coming = self.coming(&(line.sku.clone(), warehouse.clone()));
                coming.iter().map(|(at_ms, _)| *at_ms).min().unwrap_or(u64::MAX)
            });
        }
        places.first().cloned()
    }

    /// Returns warehouses in the order that makes the number of shipments small.
    fn ranking(&self, storefront: &StorefrontId, wanted: &[ReserveLine]) -> Vec<WarehouseId> {
        let mut lines = wanted.to_vec();
        for line in &mut lines {
            let max = self.policy(&line.sku, storefront).max_per_reservation;
            if max > 0 {
                line.quantity = line.quantity.min(max);
            }
        }
        let has = |line: &ReserveLine, warehouse: &WarehouseId| {
            let policy = self.policy(&line.sku, storefront);
            if allowed_warehouses(&self.cells, line).contains(warehouse) {
                offered(&self.cells, &policy, &line.sku, storefront, warehouse)
            } else {
                0
            }
        };
        let mut left: BTreeSet<WarehouseId> = self.cells.keys().map(|key| key.1.clone()).collect();
        let mut ranking: Vec<WarehouseId> = Vec::new();
        let only: BTreeSet<WarehouseId> = lines
            .iter()
            .filter_map(|line| match &line.source {
                Source::Warehouse(warehouse) if has(line, warehouse) > 0 => Some(warehouse.clone()),
                _ => None,
            })
            .collect();
        let mut forced: Vec<WarehouseId> = only.into_iter().collect();
        loop {
            let next = if forced.is_empty() {
                let mut best: Option<(usize, i64, WarehouseId)> = None;
                for warehouse in &left {
                    let open = lines.iter().filter(|line| line.quantity > 0);
                    let completed = open.clone().filter(|line| has(line, warehouse) >= line.quantity);
                    let completed = completed.count();
                    let units: i64 = open.map(|line| has(line, warehouse).min(line.quantity)).sum();
                    let better = best
                        .as_ref()
                        .is_none_or(|(most, many, _)| (completed, units) > (*most, *many));
                    if units > 0 && better {
                        best = Some((completed, units, warehouse.clone()));
                    }
                }
                match best {
                    Some((.., warehouse)) => warehouse,
                    None => return ranking,
                }
            } else {
                forced.remove(0)
            };
            for line in &mut lines {
                line.quantity -= has(line, &next).min(line.quantity);
            }
            left.remove(&next);
            ranking.push(next);
        }
    }
}

/// Adds up lines of one SKU and source, in the place of the first.
fn together(wanted: &[ReserveLine]) -> Vec<(usize, ReserveLine)> {
    let mut lines: Vec<(usize, ReserveLine)> = Vec::new();
    for (number, line) in wanted.iter().enumerate() {
        let same =
            |(_, other): &&mut (usize, ReserveLine)| other.sku == line.sku && other.source == line.source;
        match lines.iter_mut().find(same) {
            Some((_, same)) => same.quantity += line.quantity,
            None => lines.push((number, line.clone())),
        }
    }
    lines
}

/// Returns the units of a cell that a storefront could have.
fn offered(
    cells: &BTreeMap<Key, Cell>,
    policy: &StockPolicy,
    sku: &Sku,
    storefront: &StorefrontId,
    warehouse: &WarehouseId,
) -> i64 {
    match cells.get(&(sku.clone(), warehouse.clone())) {
        None => 0,
        Some(cell) => {
            let pooled = cell.pools.get(storefront).copied().unwrap_or(0);
            pooled + if policy.may_borrow { cell.free } else { 0 }
        }
    }
}

/// Returns the allowed warehouses by name, or in the order of the list.
fn allowed_warehouses(cells: &BTreeMap<Key, Cell>, line: &ReserveLine) -> Vec<WarehouseId> {
    match &line.source {
        Source::Warehouse(warehouse) => vec![warehouse.clone()],
        Source::Preference(list) => list.clone(),
        Source::Any => {
            let of_sku = cells.keys().filter(|key| key.0 == line.sku);
            of_sku.map(|key| key.1.clone()).collect()
        }
    }
}
