//! A second ledger, written without looking at the first: plain maps of names and numbers, every reserved unit a thing of
//! its own, whole states copied where that is simpler. Slow and short.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::*;

type Key = (Sku, WarehouseId);

#[derive(Clone, Default)]
pub(crate) struct Cell {
    pub(crate) on_hand: i64,
    pub(crate) free: i64,
    pub(crate) safety: i64,
    pub(crate) damaged: i64,
    pub(crate) quality_hold: i64,
    pub(crate) deficit: i64,
    pub(crate) pools: BTreeMap<StorefrontId, i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    Held,
    Committed,
    Shipped,
    Released,
    Cancelled,
    Returned,
}

#[derive(Clone)]
pub(crate) struct Unit {
    pub(crate) warehouse: WarehouseId,
    pub(crate) from_pool: bool,
    pub(crate) place: Place,
}

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) number: u32,
    pub(crate) sku: Sku,
    pub(crate) requested: i64,
    pub(crate) units: Vec<Unit>,
}

#[derive(Clone)]
pub(crate) struct Reservation {
    pub(crate) storefront: StorefrontId,
    pub(crate) state: ReservationState,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) closed_at_ms: u64,
    pub(crate) reference: Reference,
    pub(crate) lines: Vec<Line>,
}

pub(crate) struct Model {
    pub(crate) options: LedgerOptions,
    pub(crate) now_ms: u64,
    pub(crate) cells: BTreeMap<Key, Cell>,
    pub(crate) policies: BTreeMap<(Sku, StorefrontId), (bool, i64)>,
    pub(crate) reservations: BTreeMap<ReservationId, Reservation>,
    done: BTreeMap<OperationId, (Action, Reference, Reason, Success)>,
    /// What was on hand at the end of each entry, by the last change's number then.
    on_hand_at: BTreeMap<u64, BTreeMap<Key, i64>>,
    position: Position,
}

fn invalid<T>() -> Result<T, Refusal> {
    Err(Refusal::InvalidRequest(String::new()))
}

fn short<T>(sku: &Sku, requested: i64, available: i64) -> Result<T, Refusal> {
    Err(Refusal::InsufficientStock(vec![Shortage {
        line: 0,
        sku: sku.clone(),
        requested,
        available,
    }]))
}

impl Model {
    pub(crate) fn new(options: LedgerOptions) -> Self {
        Self {
            options,
            now_ms: 0,
            cells: BTreeMap::new(),
            policies: BTreeMap::new(),
            reservations: BTreeMap::new(),
            done: BTreeMap::new(),
            on_hand_at: BTreeMap::from([(0, BTreeMap::new())]),
            position: Position {
                log_index: 0,
                log_time_ms: 0,
            },
        }
    }

    pub(crate) fn apply(&mut self, log_index: u64, entry: &Entry) -> Vec<Outcome> {
        self.now_ms = self.now_ms.max(entry.log_time_ms);
        self.position = Position {
            log_index,
            log_time_ms: self.now_ms,
        };
        self.let_time_pass();
        entry.commands.iter().map(|command| self.run(command)).collect()
    }

    /// Remembers what is on hand as of a change.
    pub(crate) fn mark(&mut self, last_seq: u64) {
        let on_hand = self
            .cells
            .iter()
            .map(|(key, cell)| (key.clone(), cell.on_hand))
            .collect();
        self.on_hand_at.insert(last_seq, on_hand);
    }

    fn let_time_pass(&mut self) {
        let mut ended: Vec<(u64, ReservationId)> = self
            .reservations
            .iter()
            .filter(|(_, r)| r.state == ReservationState::Held && r.expires_at_ms <= self.now_ms)
            .map(|(id, r)| (r.expires_at_ms, *id))
            .collect();
        ended.sort();
        for (_, id) in ended {
            self.free_all(&id, ReservationState::Expired);
        }
        let now_ms = self.now_ms;
        let options = self.options.clone();
        self.reservations.retain(|id, r| {
            let kept_ms = match r.state {
                ReservationState::Shipped | ReservationState::Returned => options.shipped_retention_ms,
                ReservationState::Released | ReservationState::Expired | ReservationState::Cancelled => {
                    options.closed_retention_ms
                }
                _ => return true,
            };
            let kept_ms = kept_ms.max(options.operation_window_ms);
            r.closed_at_ms + kept_ms >= now_ms || id.time_ms() + options.operation_window_ms >= now_ms
        });
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let id_time_ms = command.operation_id.time_ms();
        let window_start_ms = self.now_ms.saturating_sub(self.options.operation_window_ms);
        if id_time_ms < window_start_ms {
            return Err(Refusal::OperationIdTooOld {
                id_time_ms,
                window_start_ms,
            });
        }
        if let Some((action, reference, reason, first)) = self.done.get(&command.operation_id) {
            if (action, reference, reason) != (&command.action, &command.reference, &command.reason) {
                return Err(Refusal::OperationIdReused);
            }
            let mut again = first.clone();
            match &mut again {
                Success::Reserved { replayed, .. } | Success::Transitioned { replayed, .. } => {
                    *replayed = true
                }
                Success::Stocked { replayed, cell, .. } => {
                    *replayed = true;
                    *cell = None;
                }
            }
            return Ok(again);
        }
        let latest_ms = self.now_ms + self.options.operation_lead_ms;
        if id_time_ms > latest_ms {
            return Err(Refusal::OperationIdFromFuture {
                id_time_ms,
                latest_ms,
            });
        }
        let success = self.act(command)?;
        let kept = (
            command.action.clone(),
            command.reference.clone(),
            command.reason.clone(),
            success.clone(),
        );
        self.done.insert(command.operation_id, kept);
        Ok(success)
    }

    fn act(&mut self, command: &Command) -> Outcome {
        let position = self.position;
        let moved = |state, expires_at_ms| Success::Transitioned {
            position,
            replayed: false,
            state,
            expires_at_ms,
        };
        match &command.action {
            Action::Reserve {
                storefront,
                lines,
                ttl_ms,
                mode,
            } => self.reserve(command, storefront, lines, *ttl_ms, *mode),
            Action::Extend {
                reservation_id,
                ttl_ms,
            } => {
                if !(1..=2_592_000_000).contains(ttl_ms) {
                    return invalid();
                }
                self.check_held(reservation_id)?;
                let ends = self.now_ms + ttl_ms;
                let reservation = self.reservations.get_mut(reservation_id).unwrap();
                reservation.expires_at_ms = reservation.expires_at_ms.max(ends);
                Ok(moved(Some(ReservationState::Held), reservation.expires_at_ms))
            }
            Action::Commit { reservation_id } => {
                self.check_held(reservation_id)?;
                let reservation = self.reservations.get_mut(reservation_id).unwrap();
                reservation.state = ReservationState::Committed;
                for unit in reservation.lines.iter_mut().flat_map(|line| &mut line.units) {
                    unit.place = Place::Committed;
                }
                Ok(moved(Some(ReservationState::Committed), 0))
            }
            Action::Release { reservation_id } => {
                self.check_held(reservation_id)?;
                self.free_all(reservation_id, ReservationState::Released);
                Ok(moved(Some(ReservationState::Released), 0))
            }
            Action::Ship {
                reservation_id,
                lines,
            } => self
                .fulfil(reservation_id, lines, Place::Shipped, None)
                .map(|state| moved(Some(state), 0)),
            Action::Cancel {
                reservation_id,
                lines,
            } => self
                .fulfil(reservation_id, lines, Place::Cancelled, None)
                .map(|state| moved(Some(state), 0)),
            Action::Return {
                of:
                    ReturnOf::Reservation {
                        reservation_id,
                        lines,
                    },
                disposition,
            } => self
                .fulfil(reservation_id, lines, Place::Returned, Some(*disposition))
                .map(|state| moved(Some(state), 0)),
            Action::Return {
                of:
                    ReturnOf::Unreferenced {
                        sku,
                        warehouse,
                        quantity,
                    },
                disposition,
            } => {
                if *quantity < 1 {
                    return invalid();
                }
                self.bring_back(&(sku.clone(), warehouse.clone()), *quantity, *disposition);
                Ok(moved(None, 0))
            }
            Action::SetPolicy {
                sku,
                storefront,
                may_borrow,
                max_per_reservation,
            } => {
                if *max_per_reservation < 0 {
                    return invalid();
                }
                self.policies.insert(
                    (sku.clone(), storefront.clone()),
                    (*may_borrow, *max_per_reservation),
                );
                Ok(Success::Stocked {
                    position,
                    replayed: false,
                    cell: None,
                })
            }
            Action::Receive { sku, warehouse, .. }
            | Action::Adjust { sku, warehouse, .. }
            | Action::Count { sku, warehouse, .. }
            | Action::MoveBucket { sku, warehouse, .. }
            | Action::AllocatePool { sku, warehouse, .. } => {
                let key = (sku.clone(), warehouse.clone());
                let mut cell = self.cells.get(&key).cloned().unwrap_or_default();
                self.stock(&mut cell, &key, command)?;
                self.cells.insert(key.clone(), cell);
                Ok(Success::Stocked {
                    position,
                    replayed: false,
                    cell: Some(self.view(&key)),
                })
            }
        }
    }

    fn stock(&self, cell: &mut Cell, key: &Key, command: &Command) -> Result<(), Refusal> {
        match &command.action {
            Action::Receive { quantity, .. } => {
                if *quantity < 1 {
                    return invalid();
                }
                cell.on_hand += quantity;
                cell.sell(*quantity);
            }
            Action::Adjust { delta, .. } => {
                if *delta == 0 || command.reason.as_str().is_empty() {
                    return invalid();
                }
                let sellable = cell.free + cell.safety + cell.pools.values().sum::<i64>();
                if -delta > sellable {
                    return short(&key.0, -delta, sellable);
                }
                cell.on_hand += delta;
                if *delta > 0 {
                    cell.sell(*delta);
                } else {
                    for _ in 0..-delta {
                        cell.lose_sellable();
                    }
                }
            }
            Action::Count {
                counted, as_of_seq, ..
            } => {
                if *counted < 0 {
                    return invalid();
                }
                let then = match as_of_seq {
                    None => cell.on_hand,
                    Some(seq) => match self.on_hand_at.get(seq) {
                        Some(all) => all.get(key).copied().unwrap_or(0),
                        None => {
                            let last_seq = *self.on_hand_at.keys().last().unwrap();
                            return Err(Refusal::PositionInFuture {
                                as_of_seq: *seq,
                                last_seq,
                            });
                        }
                    },
                };
                let target = counted + (cell.on_hand - then);
                if target < 0 {
                    return invalid();
                }
                let promised = self.promised(key, Place::Held) + self.promised(key, Place::Committed);
                while cell.on_hand < target {
                    cell.on_hand += 1;
                    cell.sell(1);
                }
                while cell.on_hand > target {
                    cell.on_hand -= 1;
                    if cell.lose_sellable() {
                    } else if cell.deficit < promised {
                        cell.deficit += 1;
                    } else if cell.damaged > 0 {
                        cell.damaged -= 1;
                    } else {
                        cell.quality_hold -= 1;
                    }
                }
            }
            Action::MoveBucket {
                from, to, quantity, ..
            } => {
                let places = [Bucket::Free, Bucket::Safety, Bucket::Damaged, Bucket::QualityHold];
                if *quantity < 1 || from == to || !places.contains(from) || !places.contains(to) {
                    return invalid();
                }
                let there = *cell.bucket(*from);
                if there < *quantity {
                    return short(&key.0, *quantity, there);
                }
                for _ in 0..*quantity {
                    *cell.bucket(*from) -= 1;
                    if matches!(to, Bucket::Free | Bucket::Safety) && cell.deficit > 0 {
                        cell.deficit -= 1;
                    } else {
                        *cell.bucket(*to) += 1;
                    }
                }
            }
            Action::AllocatePool {
                storefront, target, ..
            } => {
                if *target < 0 {
                    return invalid();
                }
                let pool = cell.pools.entry(storefront.clone()).or_default();
                if *target > *pool + cell.free {
                    return short(&key.0, *target, *pool + cell.free);
                }
                cell.free -= target - *pool;
                *pool = *target;
            }
            other => panic!("{other:?} is not about one cell"),
        }
        Ok(())
    }

    fn reserve(
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

    fn check_held(&self, id: &ReservationId) -> Result<(), Refusal> {
        let reservation = self.reservations.get(id).ok_or(Refusal::UnknownReservation)?;
        match reservation.state {
            ReservationState::Held => Ok(()),
            ReservationState::Expired => Err(Refusal::Expired {
                expired_at_ms: reservation.expires_at_ms,
            }),
            state => Err(Refusal::WrongState { state }),
        }
    }

    fn free_all(&mut self, id: &ReservationId, state: ReservationState) {
        let reservation = self.reservations.get_mut(id).unwrap();
        reservation.state = state;
        reservation.closed_at_ms = self.now_ms;
        for line in &mut reservation.lines {
            for unit in line.units.iter_mut().rev() {
                unit.place = Place::Released;
                let cell = self
                    .cells
                    .get_mut(&(line.sku.clone(), unit.warehouse.clone()))
                    .unwrap();
                cell.give_back(unit.from_pool, &reservation.storefront);
            }
        }
    }

    fn fulfil(
        &mut self,
        id: &ReservationId,
        wanted: &[LineQuantity],
        to: Place,
        disposition: Option<Disposition>,
    ) -> Result<ReservationState, Refusal> {
        if wanted.len() > 1024 || wanted.iter().any(|line| line.quantity < 1) {
            return invalid();
        }
        let mut reservation = self
            .reservations
            .get(id)
            .ok_or(Refusal::UnknownReservation)?
            .clone();
        let from = if to == Place::Returned {
            Place::Shipped
        } else {
            Place::Committed
        };
        if !reservation
            .lines
            .iter()
            .flat_map(|line| &line.units)
            .any(|unit| unit.place == from)
        {
            return Err(Refusal::WrongState {
                state: reservation.state,
            });
        }
        let mut picked: BTreeSet<(usize, usize)> = BTreeSet::new();
        for want in wanted {
            let mut found = 0;
            if let Some(at) = reservation.lines.iter().position(|line| line.number == want.line) {
                let line = &reservation.lines[at];
                for warehouse in line.warehouses() {
                    if want.warehouse.as_ref().is_some_and(|only| *only != warehouse) {
                        continue;
                    }
                    let mut here: Vec<usize> = (0..line.units.len())
                        .filter(|unit| line.units[*unit].warehouse == warehouse)
                        .collect();
                    if to == Place::Cancelled {
                        here.reverse();
                    }
                    for unit in here {
                        let open = line.units[unit].place == from && !picked.contains(&(at, unit));
                        if open && found < want.quantity {
                            picked.insert((at, unit));
                            found += 1;
                        }
                    }
                }
            }
            if found < want.quantity {
                return Err(Refusal::ExceedsLine {
                    line: want.line,
                    requested: want.quantity,
                    available: found,
                });
            }
        }
        if wanted.is_empty() {
            for (at, line) in reservation.lines.iter().enumerate() {
                let open = (0..line.units.len()).filter(|unit| line.units[*unit].place == from);
                picked.extend(open.map(|unit| (at, unit)));
            }
        }
        if to == Place::Shipped {
            self.check_goods(&reservation, &picked)?;
        }
        for (at, line) in reservation.lines.iter_mut().enumerate() {
            for warehouse in line.warehouses() {
                let key = (line.sku.clone(), warehouse.clone());
                for (number, unit) in line.units.iter_mut().enumerate().rev() {
                    if unit.warehouse != warehouse || !picked.contains(&(at, number)) {
                        continue;
                    }
                    unit.place = to;
                    let cell = self.cells.get_mut(&key).unwrap();
                    match (to, disposition) {
                        (Place::Shipped, _) => cell.on_hand -= 1,
                        (Place::Cancelled, _) => cell.give_back(unit.from_pool, &reservation.storefront),
                        (_, Some(disposition)) => cell.bring_back(1, disposition),
                        other => panic!("{other:?}"),
                    }
                }
            }
        }
        let all: Vec<Place> = reservation
            .lines
            .iter()
            .flat_map(|line| &line.units)
            .map(|unit| unit.place)
            .collect();
        reservation.state = if all.contains(&Place::Committed) {
            ReservationState::Committed
        } else if all.contains(&Place::Shipped) {
            ReservationState::Shipped
        } else if all.contains(&Place::Returned) {
            ReservationState::Returned
        } else {
            ReservationState::Cancelled
        };
        if reservation.state != ReservationState::Committed {
            reservation.closed_at_ms = self.now_ms;
        }
        let state = reservation.state;
        self.reservations.insert(*id, reservation);
        Ok(state)
    }

    /// Are the goods really there, line by line?
    fn check_goods(
        &self,
        reservation: &Reservation,
        picked: &BTreeSet<(usize, usize)>,
    ) -> Result<(), Refusal> {
        let mut left: BTreeMap<Key, i64> = self
            .cells
            .iter()
            .map(|(key, cell)| (key.clone(), cell.on_hand - cell.damaged - cell.quality_hold))
            .collect();
        let mut shortages = Vec::new();
        for (at, line) in reservation.lines.iter().enumerate() {
            for warehouse in line.warehouses() {
                let of_line = picked.iter().filter(|(other, _)| *other == at);
                let requested = of_line
                    .filter(|(_, unit)| line.units[*unit].warehouse == warehouse)
                    .count() as i64;
                let left = left.get_mut(&(line.sku.clone(), warehouse)).unwrap();
                let available = (*left).max(0);
                if requested > available {
                    shortages.push(Shortage {
                        line: line.number,
                        sku: line.sku.clone(),
                        requested,
                        available,
                    });
                }
                *left -= requested;
            }
        }
        if shortages.is_empty() {
            Ok(())
        } else {
            Err(Refusal::InsufficientStock(shortages))
        }
    }

    fn bring_back(&mut self, key: &Key, quantity: i64, disposition: Disposition) {
        self.cells
            .entry(key.clone())
            .or_default()
            .bring_back(quantity, disposition);
    }

    pub(crate) fn promised(&self, key: &Key, place: Place) -> i64 {
        let lines = self
            .reservations
            .values()
            .flat_map(|r| &r.lines)
            .filter(|line| line.sku == key.0);
        lines
            .flat_map(|line| &line.units)
            .filter(|unit| unit.warehouse == key.1 && unit.place == place)
            .count() as i64
    }

    pub(crate) fn view(&self, key: &Key) -> CellView {
        let cell = &self.cells[key];
        let pools = cell.pools.iter().filter(|(_, quantity)| **quantity > 0);
        CellView {
            sku: key.0.clone(),
            warehouse: key.1.clone(),
            on_hand: cell.on_hand,
            free: cell.free,
            pools: pools
                .map(|(name, units)| PoolView {
                    storefront: name.clone(),
                    quantity: *units,
                })
                .collect(),
            safety: cell.safety,
            held: self.promised(key, Place::Held),
            committed: self.promised(key, Place::Committed),
            damaged: cell.damaged,
            quality_hold: cell.quality_hold,
            deficit: cell.deficit,
        }
    }
}

impl Cell {
    fn sell(&mut self, quantity: i64) {
        for _ in 0..quantity {
            if self.deficit > 0 {
                self.deficit -= 1
            } else {
                self.free += 1
            }
        }
    }

    fn give_back(&mut self, to_pool: bool, storefront: &StorefrontId) {
        if self.deficit > 0 {
            self.deficit -= 1;
        } else if to_pool {
            *self.pools.entry(storefront.clone()).or_default() += 1;
        } else {
            self.free += 1;
        }
    }

    fn bring_back(&mut self, quantity: i64, disposition: Disposition) {
        self.on_hand += quantity;
        match disposition {
            Disposition::Restock => self.sell(quantity),
            Disposition::Damaged => self.damaged += quantity,
            Disposition::QualityHold => self.quality_hold += quantity,
        }
    }

    fn lose_sellable(&mut self) -> bool {
        if self.free > 0 {
            self.free -= 1;
        } else if self.safety > 0 {
            self.safety -= 1;
        } else if let Some(pool) = self.pools.values_mut().find(|pool| **pool > 0) {
            *pool -= 1;
        } else {
            return false;
        }
        true
    }

    fn bucket(&mut self, bucket: Bucket) -> &mut i64 {
        match bucket {
            Bucket::Free => &mut self.free,
            Bucket::Safety => &mut self.safety,
            Bucket::Damaged => &mut self.damaged,
            _ => &mut self.quality_hold,
        }
    }
}

impl Line {
    /// In order of allocation.
    pub(crate) fn warehouses(&self) -> Vec<WarehouseId> {
        let mut list: Vec<WarehouseId> = Vec::new();
        for unit in &self.units {
            if !list.contains(&unit.warehouse) {
                list.push(unit.warehouse.clone());
            }
        }
        list
    }

    pub(crate) fn count(&self, place: Place) -> i64 {
        self.units.iter().filter(|unit| unit.place == place).count() as i64
    }

    pub(crate) fn allocations(&self) -> Vec<Allocation> {
        let of = |warehouse: &WarehouseId, pool: bool| {
            self.units
                .iter()
                .filter(|u| u.warehouse == *warehouse && u.from_pool == pool)
                .count() as i64
        };
        let list = self.warehouses().into_iter();
        list.map(|warehouse| Allocation {
            from_pool: of(&warehouse, true),
            from_free: of(&warehouse, false),
            warehouse,
        })
        .collect()
    }
}
