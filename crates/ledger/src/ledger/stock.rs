//! All cells of a shard, and the recording of their changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    BucketMoves, Cause, CellView, Change, ChangeKind, PolicyEffect, PoolView, Refusal, ReservationEffect,
    ReservationId, Rules, Sku, StorefrontId, SupplyEffect, TransferEffect, TransferId, Violation,
    WarehouseId,
    limits::{MAX_CELL_POOLS, MAX_PLACES, MAX_PLACES_BY_NUMBER},
};

use super::{
    cell::{Cell, Deltas},
    cell_key::CellKey,
    cells::Cells,
    chunked_vec::ChunkedVec,
    late::Late,
    movements::Movements,
    names::{SkuNames, SmallNames},
};

/// Cells by SKU, with the names and the numbering of changes.
#[derive(Debug, Clone)]
pub(crate) struct Stock {
    /// SKUs with their numbers. A copy shares them until a SKU is new.
    pub(crate) skus: Arc<SkuNames>,
    pub(crate) warehouses: SmallNames<WarehouseId>,
    pub(crate) storefronts: SmallNames<StorefrontId>,
    /// Cells by SKU number. Those of a SKU are in order of warehouse name.
    pub(crate) cells: ChunkedVec<Cells>,
    pub(crate) cell_count: u64,
    pub(crate) movements: Movements,
    pub(crate) late: Late,
    /// The cells with a deficit. Follows from the cells.
    pub(crate) deficits: BTreeSet<CellKey>,
    /// The units of all deficits. Follows from the cells too.
    pub(crate) deficit_units: i128,
    pub(crate) last_seq: u64,
    /// The limits on new names and pools. Follows from the rules.
    pub(crate) room: Room,
}

/// The changes that one entry has made so far.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) log_index: u64,
    pub(crate) log_time_ms: u64,
    /// The change after which the goods of the present command moved. None: they move at log time.
    pub(crate) as_of_seq: Option<u64>,
    pub(crate) changes: Vec<Change>,
    pub(crate) touched_orders: Vec<ReservationId>,
    pub(crate) touched_transfers: Vec<TransferId>,
}

/// One effect, before it has a change number.
pub(crate) struct Step<'a> {
    pub(crate) kind: ChangeKind,
    pub(crate) cell: CellKey,
    pub(crate) storefront: Option<u16>,
    pub(crate) deltas: Deltas,
    pub(crate) reservation: Option<ReservationEffect>,
    pub(crate) cause: &'a Cause,
}

impl Recording {
    /// Begins the recording of an entry with this many commands.
    pub(crate) fn new(log_index: u64, log_time_ms: u64, commands: usize) -> Self {
        Self {
            log_index,
            log_time_ms,
            as_of_seq: None,
            changes: Vec::with_capacity(commands),
            touched_orders: Vec::new(),
            touched_transfers: Vec::new(),
        }
    }

    /// Returns the changes, and sets in each how many there are.
    pub(crate) fn into_changes(mut self) -> Vec<Change> {
        let count = self.changes.len() as u32;
        for (offset, change) in self.changes.iter_mut().enumerate() {
            change.entry_changes = count;
            change.entry_offset = offset as u32;
        }
        self.changes
    }
}

/// Takes a step of a cell, and returns the buckets that it moved.
fn take(kind: ChangeKind, cell: &mut Cell, deltas: &Deltas, ranks: &[u16]) -> Result<BucketMoves, Violation> {
    cell.step(deltas, ranks).map_err(|error| {
        Violation(format!(
            "{kind:?} cannot be done: {error} ({deltas:?} on {cell:?})"
        ))
    })?;
    Ok(cell.moves(deltas, ranks))
}

/// The limits on new names and pools.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// The most warehouses, and the most storefronts.
    pub(crate) places: usize,
    /// The most pools of a cell after a new one is added.
    pub(crate) cell_pools: usize,
}

impl Room {
    fn by(rules: Rules) -> Self {
        match rules {
            Rules::First => Self {
                places: MAX_PLACES_BY_NUMBER,
                cell_pools: MAX_PLACES_BY_NUMBER,
            },
            Rules::Second | Rules::Third => Self {
                places: MAX_PLACES,
                cell_pools: MAX_CELL_POOLS,
            },
        }
    }
}

impl Stock {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            room: Room::by(rules),
            skus: Arc::new(SkuNames::new()),
            warehouses: SmallNames::new(),
            storefronts: SmallNames::new(),
            cells: ChunkedVec::default(),
            cell_count: 0,
            movements: Movements::default(),
            late: Late::default(),
            deficits: BTreeSet::new(),
            deficit_units: 0,
            last_seq: 0,
        }
    }

    pub(crate) fn find(&self, sku: &Sku, warehouse: &WarehouseId) -> Option<(CellKey, Cell)> {
        let key = CellKey {
            sku: self.skus.find(sku)?,
            warehouse: self.warehouses.find(warehouse)?,
        };
        Some((key, self.cell(key)?))
    }

    pub(crate) fn cell(&self, key: CellKey) -> Option<Cell> {
        self.cells.get(key.sku as usize)?.get(key.warehouse)
    }

    /// Returns the cells of a SKU in order of warehouse name.
    pub(crate) fn cells_of(&self, sku: u32) -> impl Iterator<Item = Cell> + '_ {
        self.cells.get(sku as usize).into_iter().flat_map(Cells::iter)
    }

    /// Adopts rules for the number of names and pools. Existing ones stay, even beyond the limit.
    pub(crate) fn adopt(&mut self, rules: Rules) {
        self.room = Room::by(rules);
        self.late.begin(self.last_seq);
    }

    /// Refuses names that are new when there is no room for them.
    pub(crate) fn check_room(
        &self,
        sku: Option<&Sku>,
        warehouse: Option<&WarehouseId>,
        storefront: Option<&StorefrontId>,
    ) -> Result<(), Refusal> {
        let small = self.room.places as u64;
        let limit = |what: &str, limit| {
            Err(Refusal::LimitReached {
                what: what.to_owned(),
                limit,
            })
        };
        if sku.is_some_and(|sku| !self.skus.has_room() && self.skus.find(sku).is_none()) {
            return limit("SKUs", u64::from(u32::MAX));
        }
        if warehouse.is_some_and(|name| !self.warehouses.has_room_for(name, self.room.places)) {
            return limit("warehouses", small);
        }
        if storefront.is_some_and(|name| !self.storefronts.has_room_for(name, self.room.places)) {
            return limit("storefronts", small);
        }
        Ok(())
    }

    pub(crate) fn intern_sku(&mut self, sku: &Sku) -> u32 {
        if let Some(number) = self.skus.find(sku) {
            return number;
        }
        self.cells.push(Cells::default());
        Arc::make_mut(&mut self.skus).intern(sku)
    }

    /// Returns the key of a cell, and makes the cell if it is new.
    pub(crate) fn ensure(&mut self, sku: &Sku, warehouse: &WarehouseId) -> CellKey {
        let key = CellKey {
            sku: self.intern_sku(sku),
            warehouse: self.warehouses.intern(warehouse),
        };
        let warehouses = &self.warehouses;
        if self.cell(key).is_none()
            && let Some(cells) = self.cells.get_mut(key.sku as usize)
        {
            let rank = warehouses.rank(key.warehouse);
            cells.insert(&Cell::new(key.warehouse), |other| warehouses.rank(other) > rank);
            self.cell_count += 1;
        }
        key
    }

    /// Takes one step and records it as a change. Commands are decided so that their steps cannot fail, so a
    /// failure is a violation.
    pub(crate) fn step(&mut self, recording: &mut Recording, step: Step<'_>) -> Result<(), Violation> {
        let (kind, deltas) = (step.kind, step.deltas);
        if deltas.on_hand != 0 && self.is_counted_since(step.cell, recording.as_of_seq) {
            return self.step_seen(recording, step);
        }
        let moves = self.change(step.cell, |cell, ranks| take(kind, cell, &deltas, ranks))?;
        self.record(recording, step, moves);
        Ok(())
    }

    /// Takes one step that leaves units loose for a later step of the same entry. The code that takes them
    /// must call [`Self::check_cell`] in the end.
    pub(crate) fn step_loosely(
        &mut self,
        recording: &mut Recording,
        step: Step<'_>,
    ) -> Result<(), Violation> {
        let (kind, deltas) = (step.kind, step.deltas);
        let moves = self.change_unchecked(step.cell, |cell, ranks| take(kind, cell, &deltas, ranks))?;
        self.record(recording, step, moves);
        Ok(())
    }

    pub(crate) fn check_cell(&self, key: CellKey) -> Result<(), Violation> {
        let cell = self
            .cell(key)
            .ok_or_else(|| Violation(format!("there is no cell {key:?}")))?;
        cell.check()
            .map_err(|error| Violation(format!("cell {key:?}: {error}")))
    }

    /// Takes several steps of one cell, and records each. The cell's invariants are checked only after the
    /// last one.
    pub(crate) fn together<'a>(
        &mut self,
        recording: &mut Recording,
        cell: CellKey,
        steps: SmallVec<[Step<'a>; 2]>,
    ) -> Result<(), Violation> {
        let all = self.change(cell, |cell, ranks| {
            let moves = steps
                .iter()
                .map(|step| take(step.kind, cell, &step.deltas, ranks));
            moves.collect::<Result<SmallVec<[BucketMoves; 2]>, Violation>>()
        })?;
        for (step, moves) in steps.into_iter().zip(all) {
            self.record(recording, step, moves);
        }
        Ok(())
    }

    /// Takes steps of one kind in one cell, and records each for `storefront`, or else for the storefront
    /// whose pool it moves. Unpacks the cell once, however many steps there are.
    pub(crate) fn steps(
        &mut self,
        recording: &mut Recording,
        kind: ChangeKind,
        cell: CellKey,
        storefront: Option<u16>,
        steps: &[Deltas],
        cause: &Cause,
    ) -> Result<(), Violation> {
        let step_of = |deltas: &Deltas| Step {
            kind,
            cell,
            storefront: storefront.or(deltas.pool.map(|(storefront, _)| storefront)),
            deltas: *deltas,
            reservation: None,
            cause,
        };
        match steps {
            // A count is never late, because a later count replaces it when it is decided.
            [deltas] if kind != ChangeKind::Counted => self.step(recording, step_of(deltas)),
            _ => self.together(recording, cell, steps.iter().map(step_of).collect()),
        }
    }

    /// Changes a cell, and checks it afterwards.
    fn change<R>(
        &mut self,
        key: CellKey,
        change: impl FnOnce(&mut Cell, &[u16]) -> Result<R, Violation>,
    ) -> Result<R, Violation> {
        self.change_unchecked(key, |cell, ranks| {
            let changed = change(cell, ranks)?;
            cell.check()
                .map_err(|error| Violation(format!("cell {key:?}: {error}")))?;
            Ok(changed)
        })
    }

    fn change_unchecked<R>(
        &mut self,
        key: CellKey,
        change: impl FnOnce(&mut Cell, &[u16]) -> Result<R, Violation>,
    ) -> Result<R, Violation> {
        let ranks = self.storefronts.ranks();
        let noting = |cell: &mut Cell| {
            let before = cell.deficit;
            let changed = change(cell, ranks)?;
            Ok((changed, before, cell.deficit))
        };
        let cells = self.cells.get_mut(key.sku as usize);
        let changed = cells.and_then(|cells| cells.update(key.warehouse, noting));
        let (changed, before, deficit) =
            changed.unwrap_or_else(|| Err(Violation(format!("there is no cell {key:?}"))))?;
        if deficit != before {
            self.deficit_units += i128::from(deficit) - i128::from(before);
            if deficit > 0 {
                self.deficits.insert(key);
            } else {
                self.deficits.remove(&key);
            }
        }
        Ok(changed)
    }

    /// Records a step that was taken.
    fn record(&mut self, recording: &mut Recording, step: Step<'_>, moves: BucketMoves) {
        let Step {
            kind,
            cell: key,
            storefront,
            deltas,
            reservation,
            cause,
        } = step;
        self.last_seq += 1;
        if deltas.on_hand != 0 {
            self.movements.push(self.last_seq, key, deltas.on_hand);
            if let Some(as_of_seq) = recording.as_of_seq {
                self.late
                    .moved(self.last_seq, as_of_seq, self.movements.oldest_seq());
            }
        }
        recording.changes.push(Change {
            seq: self.last_seq,
            entry_changes: 0,
            entry_offset: 0,
            log_index: recording.log_index,
            log_time_ms: recording.log_time_ms,
            kind,
            sku: Some(self.skus.name(key.sku).clone()),
            warehouse: Some(self.warehouses.name(key.warehouse).clone()),
            storefront: storefront.map(|number| self.storefronts.name(number).clone()),
            moves,
            reservation,
            policy: None,
            transfer: None,
            supply: None,
            cause: cause.clone(),
        });
    }

    /// Takes a step whose change also has an effect on a transfer or a supply.
    pub(crate) fn step_telling(
        &mut self,
        recording: &mut Recording,
        step: Step<'_>,
        transfer: Option<TransferEffect>,
        supply: Option<SupplyEffect>,
    ) -> Result<(), Violation> {
        let (kind, first) = (step.kind, recording.changes.len());
        self.step(recording, step)?;
        // The step may have a second change beside it: the recount of late goods.
        let made = recording.changes[first..].iter_mut();
        if let Some(change) = { made }.find(|change| change.kind == kind) {
            change.transfer = transfer.map(Box::new);
            change.supply = supply.map(Box::new);
        }
        Ok(())
    }

    /// Records a change that moves no units.
    pub(crate) fn note(
        &mut self,
        recording: &mut Recording,
        kind: ChangeKind,
        sku: Option<Sku>,
        storefront: StorefrontId,
        effect: (Option<ReservationEffect>, Option<PolicyEffect>),
        cause: &Cause,
    ) {
        let (reservation, policy) = effect;
        self.last_seq += 1;
        recording.changes.push(Change {
            seq: self.last_seq,
            entry_changes: 0,
            entry_offset: 0,
            log_index: recording.log_index,
            log_time_ms: recording.log_time_ms,
            kind,
            sku,
            warehouse: None,
            storefront: Some(storefront),
            moves: BucketMoves::new(),
            reservation,
            policy: policy.map(Box::new),
            transfer: None,
            supply: None,
            cause: cause.clone(),
        });
    }

    pub(crate) fn view(&self, sku: u32, cell: &Cell) -> CellView {
        let pool = |pool: &super::cell::Pool| PoolView {
            storefront: self.storefronts.name(pool.storefront).clone(),
            quantity: pool.quantity,
        };
        CellView {
            sku: self.skus.name(sku).clone(),
            warehouse: self.warehouses.name(cell.warehouse).clone(),
            on_hand: cell.on_hand,
            free: cell.free,
            pools: cell.pools.iter().map(pool).collect(),
            safety: cell.safety,
            held: cell.held,
            committed: cell.committed,
            damaged: cell.damaged,
            quality_hold: cell.quality_hold,
            deficit: cell.deficit,
            backordered: cell.backordered,
            in_transit: cell.in_transit,
        }
    }
}
