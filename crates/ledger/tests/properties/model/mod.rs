//! A second ledger, written without looking at the first. It has plain maps of names and numbers, makes every
//! reserved unit an object, and copies whole states where that is simpler. It is slow and short.

mod act;
mod fulfil;
mod late;
mod replace;
mod reserve;
mod stock;
mod transfer;

use std::collections::BTreeMap;

use holdfast_ledger::*;

pub(crate) type Key = (Sku, WarehouseId);

#[derive(Clone, Default)]
pub(crate) struct Cell {
    pub(crate) on_hand: i64,
    pub(crate) free: i64,
    pub(crate) safety: i64,
    pub(crate) damaged: i64,
    pub(crate) quality_hold: i64,
    pub(crate) deficit: i64,
    pub(crate) backordered: i64,
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

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Origin {
    Pool,
    Free,
    Backorder,
}

#[derive(Clone, Default)]
pub(crate) struct StockPolicy {
    pub(crate) may_borrow: bool,
    pub(crate) max_per_reservation: i64,
    pub(crate) backorder_limit: i64,
    pub(crate) preorder_limit: i64,
    pub(crate) preorder_until_ms: u64,
}

#[derive(Clone)]
pub(crate) struct Unit {
    pub(crate) warehouse: WarehouseId,
    pub(crate) origin: Origin,
    pub(crate) place: Place,
}

#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) number: u32,
    pub(crate) sku: Sku,
    pub(crate) requested: i64,
    pub(crate) units: Vec<Unit>,
    pub(crate) reasons: BTreeMap<WarehouseId, SourcingReason>,
}

#[derive(Clone)]
pub(crate) struct Reservation {
    pub(crate) storefront: StorefrontId,
    pub(crate) state: ReservationState,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) closed_at_ms: u64,
    pub(crate) reference: Reference,
    /// Whether it must be the only one with its reference.
    pub(crate) is_unique: bool,
    pub(crate) lines: Vec<Line>,
}

/// The effect of a command on the units on hand, by cell: by its own movements, and by recounts.
pub(crate) type OnHandMoves = BTreeMap<Key, (i64, i64)>;

pub(crate) struct Model {
    pub(crate) options: LedgerOptions,
    pub(crate) rules: Rules,
    pub(crate) now_ms: u64,
    pub(crate) cells: BTreeMap<Key, Cell>,
    pub(crate) policies: BTreeMap<(Sku, StorefrontId), StockPolicy>,
    pub(crate) reservations: BTreeMap<ReservationId, Reservation>,
    pub(crate) transfers: BTreeMap<TransferId, transfer::Transfer>,
    /// The quantity and the date. With a quantity of 0, nothing is expected any more.
    pub(crate) supplies: BTreeMap<(Key, SupplyId), (i64, u64)>,
    /// Registered consumers, in order of their names.
    pub(crate) consumers: Vec<ConsumerView>,
    done: BTreeMap<OperationId, (Command, Success)>,
    shelves: BTreeMap<Key, late::Shelf>,
    /// The change since which counts are remembered.
    counts_since: u64,
    /// The last change before the present command.
    last_seq: u64,
    /// Units of the present command that a count had already seen move.
    seen: BTreeMap<Key, i64>,
    position: Position,
}

pub(super) fn invalid<T>() -> Result<T, Refusal> {
    Err(Refusal::InvalidRequest(String::new()))
}

/// Returns a consumer that was registered at this log time.
pub(super) fn new_consumer(name: &ConsumerName, location: &ConsumerLocation, now_ms: u64) -> ConsumerView {
    ConsumerView {
        name: name.clone(),
        required: false,
        location: location.clone(),
        through_seq: 0,
        advanced_at_ms: now_ms,
    }
}

pub(super) fn short<T>(sku: &Sku, requested: i64, available: i64) -> Result<T, Refusal> {
    Err(Refusal::InsufficientStock(vec![Shortage {
        line: 0,
        sku: sku.clone(),
        requested,
        available,
    }]))
}

/// Returns the SKUs that an action names.
fn skus(action: &Action) -> Box<dyn Iterator<Item = &Sku> + '_> {
    match action {
        Action::Reserve { lines, .. } => Box::new(lines.iter().map(|line| &line.sku)),
        Action::TransferOut { lines, .. } | Action::TransferIn { lines, .. } => {
            Box::new(lines.iter().map(|line| &line.sku))
        }
        Action::Receive { sku, .. }
        | Action::Adjust { sku, .. }
        | Action::Count { sku, .. }
        | Action::MoveBucket { sku, .. }
        | Action::SetPolicy { sku, .. }
        | Action::AllocatePool { sku, .. }
        | Action::ExpectSupply { sku, .. }
        | Action::Return {
            of: ReturnOf::Unreferenced { sku, .. },
            ..
        } => Box::new(std::iter::once(sku)),
        _ => Box::new(std::iter::empty()),
    }
}

/// Returns whether the first release accepts a SKU.
fn is_of_old_letters(sku: &Sku) -> bool {
    let name = sku.as_str();
    name.len() <= 64
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._:/-".contains(&byte))
}

impl Model {
    pub(crate) fn new(options: LedgerOptions, rules: Rules) -> Self {
        Self {
            options,
            rules,
            now_ms: 0,
            cells: BTreeMap::new(),
            policies: BTreeMap::new(),
            reservations: BTreeMap::new(),
            transfers: BTreeMap::new(),
            supplies: BTreeMap::new(),
            consumers: Vec::new(),
            done: BTreeMap::new(),
            shelves: BTreeMap::new(),
            counts_since: 0,
            last_seq: 0,
            seen: BTreeMap::new(),
            position: Position {
                log_index: 0,
                log_time_ms: 0,
            },
        }
    }

    /// Applies an entry. `last_seqs` has the last change before each command, because the model does not
    /// number changes.
    pub(crate) fn apply(
        &mut self,
        log_index: u64,
        entry: &Entry,
        last_seqs: &[u64],
    ) -> Vec<(Outcome, OnHandMoves)> {
        self.now_ms = self.now_ms.max(entry.log_time_ms);
        self.position = Position {
            log_index,
            log_time_ms: self.now_ms,
        };
        self.let_time_pass();
        let commands = entry.commands.iter().zip(last_seqs);
        commands
            .map(|(command, last_seq)| {
                self.last_seq = *last_seq;
                let before = self.on_hand();
                let outcome = self.run(command);
                (outcome, self.write_down(command, &before))
            })
            .collect()
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
        let kept_ms = options.closed_retention_ms.max(options.operation_window_ms);
        self.transfers.retain(|id, transfer| {
            transfer.closed_at_ms == 0
                || transfer.closed_at_ms + kept_ms >= now_ms
                || id.time_ms() + options.operation_window_ms >= now_ms
        });
    }

    fn run(&mut self, command: &Command) -> Outcome {
        let is_known =
            || command.details == Details::default() && skus(&command.action).all(is_of_old_letters);
        if self.rules < Rules::Second && !is_known() {
            return invalid();
        }
        let names_consumer = matches!(
            command.action,
            Action::RegisterConsumer { .. } | Action::AdvanceConsumer { .. } | Action::RemoveConsumer { .. }
        );
        if names_consumer && self.rules < Rules::Third {
            return invalid();
        }
        if let Action::AdvanceConsumer {
            name,
            location,
            through_seq,
        } = &command.action
        {
            let replayed = !self.advance(name, location, *through_seq)?;
            return Ok(Success::Stocked {
                position: self.position,
                replayed,
                cell: None,
            });
        }
        if let Action::AdoptRules { rules } = command.action {
            let replayed = rules <= self.rules;
            if !replayed {
                self.rules = rules;
                self.counts_since = self.last_seq;
            }
            return Ok(Success::Stocked {
                position: self.position,
                replayed,
                cell: None,
            });
        }
        let id_time_ms = command.operation_id.time_ms();
        let window_start_ms = self.now_ms.saturating_sub(self.options.operation_window_ms);
        if id_time_ms < window_start_ms {
            return Err(Refusal::OperationIdTooOld {
                id_time_ms,
                window_start_ms,
            });
        }
        if let Some((done, first)) = self.done.get(&command.operation_id) {
            if done != command {
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
                Success::Order { .. } => {}
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
        let done = (command.clone(), success.clone());
        self.done.insert(command.operation_id, done);
        Ok(success)
    }

    /// Moves a consumer forward. Returns whether it moved.
    fn advance(
        &mut self,
        name: &ConsumerName,
        location: &ConsumerLocation,
        through_seq: u64,
    ) -> Result<bool, Refusal> {
        let Some(consumer) = self.consumers.iter_mut().find(|known| known.name == *name) else {
            return Err(Refusal::UnknownConsumer { name: name.clone() });
        };
        if consumer.location != *location {
            return invalid();
        }
        if through_seq > self.last_seq {
            return Err(Refusal::PositionInFuture {
                as_of_seq: through_seq,
                last_seq: self.last_seq,
            });
        }
        let moves = consumer.through_seq < through_seq;
        if moves {
            consumer.through_seq = through_seq;
            consumer.advanced_at_ms = self.now_ms;
        }
        Ok(moves)
    }

    pub(super) fn check_held(&self, id: &ReservationId) -> Result<(), Refusal> {
        let reservation = self.reservations.get(id).ok_or(Refusal::UnknownReservation)?;
        match reservation.state {
            ReservationState::Held => Ok(()),
            ReservationState::Expired => Err(Refusal::Expired {
                expired_at_ms: reservation.expires_at_ms,
            }),
            state => Err(Refusal::WrongState { state }),
        }
    }

    pub(super) fn free_all(&mut self, id: &ReservationId, state: ReservationState) {
        let reservation = self.reservations.get_mut(id).unwrap();
        reservation.state = state;
        reservation.closed_at_ms = self.now_ms;
        for line in 0..reservation.lines.len() {
            for unit in (0..self.reservations[id].lines[line].units.len()).rev() {
                self.give_back(id, line, unit, Place::Released);
            }
        }
    }

    /// Gives one promised unit back to where it was taken from.
    pub(super) fn give_back(&mut self, id: &ReservationId, line: usize, unit: usize, place: Place) {
        let reservation = self.reservations.get_mut(id).unwrap();
        let storefront = reservation.storefront.clone();
        let sku = reservation.lines[line].sku.clone();
        let unit = &mut reservation.lines[line].units[unit];
        unit.place = place;
        let origin = unit.origin;
        let key = (sku, unit.warehouse.clone());
        let still_promised = self.promised(&key, Place::Held) + self.promised(&key, Place::Committed);
        let cell = self.cells.get_mut(&key).unwrap();
        if origin != Origin::Pool {
            cell.sell(1);
        } else if cell.deficit > 0 {
            cell.deficit -= 1;
        } else if cell.backordered > still_promised {
            // The unit was shipped to a buyer whose units were backordered.
            cell.backordered -= 1;
        } else {
            *cell.pools.entry(storefront).or_default() += 1;
        }
    }

    pub(crate) fn policy(&self, sku: &Sku, storefront: &StorefrontId) -> StockPolicy {
        let found = self.policies.get(&(sku.clone(), storefront.clone())).cloned();
        found.unwrap_or(StockPolicy {
            may_borrow: true,
            ..StockPolicy::default()
        })
    }

    /// Returns how many more units of a SKU a storefront may have beyond stock.
    pub(crate) fn backorderable(
        &self,
        sku: &Sku,
        storefront: &StorefrontId,
        cells: &BTreeMap<Key, Cell>,
    ) -> i64 {
        let policy = self.policy(sku, storefront);
        let limit = if self.now_ms < policy.preorder_until_ms {
            policy.preorder_limit
        } else {
            policy.backorder_limit
        };
        let of_sku = cells.iter().filter(|(key, _)| key.0 == *sku);
        let backordered: i64 = of_sku.map(|(_, cell)| cell.backordered).sum();
        if policy.may_borrow && limit > backordered {
            limit - backordered
        } else {
            0
        }
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
            backordered: cell.backordered,
            in_transit: self.in_transit(key),
        }
    }
}

impl Line {
    /// Returns the warehouses in order of allocation.
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
        let of = |warehouse: &WarehouseId, origin: Origin| {
            self.units
                .iter()
                .filter(|u| u.warehouse == *warehouse && u.origin == origin)
                .count() as i64
        };
        let list = self.warehouses().into_iter();
        list.map(|warehouse| Allocation {
            from_pool: of(&warehouse, Origin::Pool),
            from_free: of(&warehouse, Origin::Free),
            from_backorder: of(&warehouse, Origin::Backorder),
            reason: self.reasons[&warehouse],
            warehouse,
        })
        .collect()
    }
}
