//! The commands that move one cell: Receive, Adjust, MoveBucket, AllocatePool, and returns without a
//! reservation.

use crate::{
    Bucket, Cause, CellView, ChangeKind, Disposition, Refusal, Shortage, Sku, StorefrontId, SupplyId,
    Violation, WarehouseId,
};

use super::{
    Ledger,
    cell::{Cell, Deltas, Flow, into_buckets},
    cell_key::CellKey,
    stock::{Recording, Stock},
    supply::SupplyStep,
};
use crate::limits::MAX_48_BITS;

/// A decided movement of one cell.
pub(crate) struct StockPlan<'a> {
    pub(crate) kind: ChangeKind,
    pub(crate) sku: &'a Sku,
    pub(crate) warehouse: &'a WarehouseId,
    pub(crate) movement: Movement<'a>,
    pub(crate) supply: Option<SupplyStep<'a>>,
}

/// The steps of a movement.
pub(crate) enum Movement<'a> {
    /// A list of steps, with one change for each. It is never empty, but a step may move nothing.
    Steps(Vec<Deltas>),
    /// One step, with the gain or loss of a storefront's pool beside it. The storefront may be new.
    OfPool(Deltas, &'a StorefrontId, i64),
}

/// Returns the cell of a command, or an empty cell if there is none yet.
pub(crate) fn cell_or_empty(stock: &Stock, sku: &Sku, warehouse: &WarehouseId) -> Cell {
    key_and_cell(stock, sku, warehouse).1
}

/// Returns the same cell with its key. The key is None if there is no cell yet.
pub(crate) fn key_and_cell(stock: &Stock, sku: &Sku, warehouse: &WarehouseId) -> (Option<CellKey>, Cell) {
    match stock.find(sku, warehouse) {
        Some((key, cell)) => (Some(key), cell),
        None => (None, Cell::default()),
    }
}

pub(crate) fn at_least(what: &str, value: i64, least: i64) -> Result<(), Refusal> {
    if value >= least {
        return Ok(());
    }
    Err(Refusal::InvalidRequest(format!(
        "{what} is {value}, it must be at least {least}"
    )))
}

/// Refuses a time of a plan that log time can never reach.
pub(crate) fn check_time(what: &str, time_ms: u64) -> Result<(), Refusal> {
    if time_ms <= MAX_48_BITS {
        return Ok(());
    }
    Err(Refusal::InvalidRequest(format!(
        "{what} is {time_ms}, it must be at most {MAX_48_BITS} (the year 10889)"
    )))
}

pub(crate) fn short(sku: &Sku, requested: i64, available: i64) -> Refusal {
    Refusal::InsufficientStock(vec![Shortage {
        line: 0,
        sku: sku.clone(),
        requested,
        available,
    }])
}

impl Stock {
    pub(crate) fn decide_receive<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        quantity: i64,
        supply_id: Option<&'a SupplyId>,
        as_of_seq: Option<u64>,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("quantity", quantity, 1)?;
        let cell = cell_or_empty(self, sku, warehouse);
        let deltas = Deltas {
            on_hand: quantity,
            flow: Some(Flow::Received),
            ..cell.sellable(quantity)
        };
        let plan = self.plan_goods(ChangeKind::Received, sku, warehouse, deltas, as_of_seq)?;
        Ok(StockPlan {
            supply: supply_id.map(|supply_id| SupplyStep::Receive(supply_id, quantity)),
            ..plan
        })
    }

    pub(crate) fn decide_foreign_return<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        quantity: i64,
        disposition: Disposition,
        as_of_seq: Option<u64>,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("quantity", quantity, 1)?;
        let cell = cell_or_empty(self, sku, warehouse);
        let deltas = into_buckets(&cell, quantity, disposition, Flow::Returned);
        self.plan_goods(ChangeKind::Returned, sku, warehouse, deltas, as_of_seq)
    }

    /// Decides Adjust. Up works like an arrival. Down takes from free, safety and pools, and never from units
    /// that are promised, damaged or under inspection. A movement that a count has already seen is only
    /// recorded, because the count found as many more units, or removed as many.
    pub(crate) fn decide_adjust<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        delta: i64,
        (reason_is_empty, as_of_seq): (bool, Option<u64>),
    ) -> Result<StockPlan<'a>, Refusal> {
        if delta == 0 {
            return Err(Refusal::InvalidRequest(
                "delta is 0, there is nothing to adjust".to_owned(),
            ));
        }
        if reason_is_empty {
            return Err(Refusal::InvalidRequest(
                "reason is empty, an adjustment needs one".to_owned(),
            ));
        }
        let missing = delta.checked_neg().ok_or(Refusal::Overflow)?;
        let cell = cell_or_empty(self, sku, warehouse);
        let flow = Some(Flow::Adjusted);
        let is_seen = |(key, _)| self.is_counted_since(key, as_of_seq);
        let steps = if delta > 0 {
            let deltas = Deltas {
                on_hand: delta,
                flow,
                ..cell.sellable(delta)
            };
            return self.plan_goods(ChangeKind::Adjusted, sku, warehouse, deltas, as_of_seq);
        } else if self.find(sku, warehouse).is_some_and(is_seen) {
            let deltas = Deltas {
                on_hand: delta,
                flow,
                free: delta,
                ..Deltas::default()
            };
            return self.plan_goods(ChangeKind::Adjusted, sku, warehouse, deltas, as_of_seq);
        } else {
            let drained = Drained::from(&cell, missing);
            if drained.rest > 0 {
                return Err(short(sku, missing, missing - drained.rest));
            }
            drained.steps
        };
        self.plan(ChangeKind::Adjusted, sku, warehouse, &cell, steps)
    }

    /// Decides a move between free, safety, damaged and quality hold. Units that go to free or safety fill a
    /// deficit first. Units that go to free then fill backordered units.
    pub(crate) fn decide_move<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        from: Bucket,
        to: Bucket,
        quantity: i64,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("quantity", quantity, 1)?;
        let allowed = |bucket| {
            matches!(
                bucket,
                Bucket::Free | Bucket::Safety | Bucket::Damaged | Bucket::QualityHold
            )
        };
        if from == to || !allowed(from) || !allowed(to) {
            return Err(Refusal::InvalidRequest(format!(
                "units cannot move from {from:?} to {to:?}: they must be two different ones of free, safety, damaged and quality hold"
            )));
        }
        let cell = cell_or_empty(self, sku, warehouse);
        let mut deltas = Deltas::default();
        let (there, taken) = match from {
            Bucket::Safety => (cell.safety, &mut deltas.safety),
            Bucket::Damaged => (cell.damaged, &mut deltas.damaged),
            Bucket::QualityHold => (cell.quality_hold, &mut deltas.quality_hold),
            _ => (cell.free, &mut deltas.free),
        };
        if there < quantity {
            return Err(short(sku, quantity, there));
        }
        *taken = -quantity;
        let deltas = match to {
            Bucket::Safety => {
                let found = quantity.min(cell.deficit);
                Deltas {
                    deficit: -found,
                    safety: quantity - found,
                    ..deltas
                }
            }
            Bucket::Damaged => Deltas {
                damaged: quantity,
                ..deltas
            },
            Bucket::QualityHold => Deltas {
                quality_hold: quantity,
                ..deltas
            },
            _ => {
                let sold = cell.sellable(quantity);
                Deltas {
                    deficit: sold.deficit,
                    backordered: sold.backordered,
                    free: sold.free,
                    ..deltas
                }
            }
        };
        self.plan(ChangeKind::BucketMoved, sku, warehouse, &cell, vec![deltas])
    }

    pub(crate) fn decide_pool<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        storefront: &'a StorefrontId,
        target: i64,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("target", target, 0)?;
        let cell = cell_or_empty(self, sku, warehouse);
        let number = self.storefronts.find(storefront);
        let pooled = number.map_or(0, |number| cell.pool(number, self.storefronts.ranks()));
        let wanted = target - pooled;
        if wanted > cell.free {
            return Err(short(sku, target, pooled + cell.free));
        }
        self.check_room(Some(sku), Some(warehouse), Some(storefront))?;
        if pooled == 0 && wanted > 0 && cell.pools.len() >= self.room.cell_pools {
            return Err(Refusal::LimitReached {
                what: "pools of a cell".to_owned(),
                limit: self.room.cell_pools as u64,
            });
        }
        let beside = if wanted < 0 {
            cell.sellable(-wanted)
        } else {
            Deltas {
                free: -wanted,
                ..Deltas::default()
            }
        };
        let movement = Movement::OfPool(beside, storefront, wanted);
        Ok(StockPlan {
            kind: ChangeKind::PoolAllocated,
            sku,
            warehouse,
            movement,
            supply: None,
        })
    }

    /// Plans a movement of goods in one step.
    fn plan_goods<'a>(
        &self,
        kind: ChangeKind,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        deltas: Deltas,
        as_of_seq: Option<u64>,
    ) -> Result<StockPlan<'a>, Refusal> {
        self.check_room(Some(sku), Some(warehouse), None)?;
        let (key, cell) = key_and_cell(self, sku, warehouse);
        self.check_goods_fit(key, &cell, deltas, as_of_seq)?;
        Ok(StockPlan {
            kind,
            sku,
            warehouse,
            movement: Movement::Steps(vec![deltas]),
            supply: None,
        })
    }

    pub(crate) fn plan<'a>(
        &self,
        kind: ChangeKind,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        cell: &Cell,
        steps: Vec<Deltas>,
    ) -> Result<StockPlan<'a>, Refusal> {
        self.check_room(Some(sku), Some(warehouse), None)?;
        self.check_fits(cell, &steps)?;
        Ok(StockPlan {
            kind,
            sku,
            warehouse,
            movement: Movement::Steps(steps),
            supply: None,
        })
    }
}

impl Ledger {
    pub(crate) fn execute_stock(
        &mut self,
        recording: &mut Recording,
        plan: StockPlan<'_>,
        cause: &Cause,
    ) -> Result<CellView, Violation> {
        let StockPlan {
            kind,
            sku,
            warehouse,
            movement,
            supply,
        } = plan;
        let cell = self.stock.ensure(sku, warehouse);
        let (steps, storefront) = match movement {
            Movement::Steps(steps) => (steps, None),
            Movement::OfPool(beside, storefront, units) => {
                let number = self.stock.storefronts.intern(storefront);
                let deltas = Deltas {
                    pool: Some((number, units)),
                    ..beside
                };
                (vec![deltas], Some(number))
            }
        };
        let supply = supply.and_then(|step| self.supplies.take(cell, step));
        let first = recording.changes.len();
        self.stock
            .steps(recording, kind, cell, storefront, &steps, cause)?;
        if let (ChangeKind::Counted, Some(as_of_seq)) = (kind, recording.as_of_seq) {
            self.stock.late.counted(cell, as_of_seq);
        }
        let told = recording.changes[first..].iter_mut();
        if let Some(change) = { told }.find(|change| change.kind == kind) {
            change.supply = supply.map(Box::new);
        }
        let moved = self
            .stock
            .cell(cell)
            .ok_or_else(|| Violation(format!("there is no cell {cell:?}")))?;
        Ok(self.stock.view(cell.sku, &moved))
    }
}

/// The result of taking away sellable units that are not really there.
pub(crate) struct Drained {
    /// Steps that take the units. The first has free, safety and the first pool, and every other pool has its
    /// own.
    pub(crate) steps: Vec<Deltas>,
    /// Units that could not be taken.
    pub(crate) rest: i64,
}

impl Drained {
    /// Takes from free, then safety, then pools in order of storefront name.
    pub(crate) fn from(cell: &Cell, missing: i64) -> Self {
        let free = missing.min(cell.free);
        let safety = (missing - free).min(cell.safety);
        let mut rest = missing - free - safety;
        let flow = Some(Flow::Adjusted);
        let first = Deltas {
            on_hand: -(free + safety),
            flow,
            free: -free,
            safety: -safety,
            ..Deltas::default()
        };
        let mut steps = vec![first];
        for pool in &cell.pools {
            let taken = rest.min(pool.quantity);
            if taken == 0 {
                break;
            }
            rest -= taken;
            match &mut steps[..] {
                [first] if first.pool.is_none() => {
                    first.pool = Some((pool.storefront, -taken));
                    first.on_hand -= taken;
                }
                _ => steps.push(Deltas {
                    on_hand: -taken,
                    flow,
                    pool: Some((pool.storefront, -taken)),
                    ..Deltas::default()
                }),
            }
        }
        Self { steps, rest }
    }
}
