//! Receive, Adjust, MoveBucket, AllocatePool, and returns without a reservation: what moves one cell.

use crate::{
    Bucket, Cause, CellView, ChangeKind, Disposition, Refusal, Shortage, Sku, StorefrontId, Violation,
    WarehouseId,
};

use super::{
    Ledger,
    cell::{Cell, Deltas, Flow},
    fulfilment::returned,
    stock::{Recording, Step, Stock},
};

/// A decided movement of one cell.
pub(crate) struct StockPlan<'a> {
    pub(crate) kind: ChangeKind,
    pub(crate) sku: &'a Sku,
    pub(crate) warehouse: &'a WarehouseId,
    pub(crate) movement: Movement<'a>,
}

/// What moves.
pub(crate) enum Movement<'a> {
    /// One change for each; none is empty, one may move nothing.
    Steps(Vec<Deltas>),
    /// This many units from free into a pool (whose storefront may be new), or back when negative.
    IntoPool(&'a StorefrontId, i64),
}

/// The cell of a command; an empty one where there is none yet.
pub(crate) fn cell_or_empty(stock: &Stock, sku: &Sku, warehouse: &WarehouseId) -> Cell {
    stock
        .find(sku, warehouse)
        .map_or_else(Cell::default, |(_, cell)| cell.clone())
}

pub(crate) fn at_least(what: &str, value: i64, least: i64) -> Result<(), Refusal> {
    if value >= least {
        return Ok(());
    }
    Err(Refusal::InvalidRequest(format!(
        "{what} is {value}, it must be at least {least}"
    )))
}

fn short(sku: &Sku, requested: i64, available: i64) -> Refusal {
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
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("quantity", quantity, 1)?;
        let cell = cell_or_empty(self, sku, warehouse);
        let deltas = Deltas {
            on_hand: quantity,
            flow: Some(Flow::Received),
            ..cell.sellable(quantity)
        };
        self.plan(ChangeKind::Received, sku, warehouse, &cell, vec![deltas])
    }

    pub(crate) fn decide_foreign_return<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        quantity: i64,
        disposition: Disposition,
    ) -> Result<StockPlan<'a>, Refusal> {
        at_least("quantity", quantity, 1)?;
        let cell = cell_or_empty(self, sku, warehouse);
        let deltas = returned(&cell, quantity, disposition);
        self.plan(ChangeKind::Returned, sku, warehouse, &cell, vec![deltas])
    }

    /// Up like a receipt; down from free, safety and pools, and never from what is promised, damaged or under inspection.
    pub(crate) fn decide_adjust<'a>(
        &self,
        sku: &'a Sku,
        warehouse: &'a WarehouseId,
        delta: i64,
        reason_is_empty: bool,
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
        let cell = cell_or_empty(self, sku, warehouse);
        let steps = if delta > 0 {
            vec![Deltas {
                on_hand: delta,
                flow: Some(Flow::Adjusted),
                ..cell.sellable(delta)
            }]
        } else {
            let missing = delta.checked_neg().ok_or(Refusal::Overflow)?;
            let drained = Drained::from(&cell, missing);
            if drained.rest > 0 {
                return Err(short(sku, missing, missing - drained.rest));
            }
            drained.steps
        };
        self.plan(ChangeKind::Adjusted, sku, warehouse, &cell, steps)
    }

    /// Between free, safety, damaged and quality hold. Into free or safety a deficit is filled first.
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
                "units cannot move from {from:?} to {to:?}: both must be of free, safety, damaged, quality hold, and differ"
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
        let sellable = matches!(to, Bucket::Free | Bucket::Safety);
        let filled = if sellable { quantity.min(cell.deficit) } else { 0 };
        deltas.deficit = -filled;
        let given = match to {
            Bucket::Safety => &mut deltas.safety,
            Bucket::Damaged => &mut deltas.damaged,
            Bucket::QualityHold => &mut deltas.quality_hold,
            _ => &mut deltas.free,
        };
        *given = quantity - filled;
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
        let movement = Movement::IntoPool(storefront, wanted);
        Ok(StockPlan {
            kind: ChangeKind::PoolAllocated,
            sku,
            warehouse,
            movement,
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
        } = plan;
        let cell = self.stock.ensure(sku, warehouse);
        let (steps, storefront) = match movement {
            Movement::Steps(steps) => (steps, None),
            Movement::IntoPool(storefront, units) => {
                let number = self.stock.storefronts.intern(storefront);
                let deltas = Deltas {
                    free: -units,
                    pool: Some((number, units)),
                    ..Deltas::default()
                };
                (vec![deltas], Some(number))
            }
        };
        for deltas in steps {
            let storefront = storefront.or(deltas.pool.map(|(storefront, _)| storefront));
            self.stock.step(
                recording,
                Step {
                    kind,
                    cell,
                    storefront,
                    deltas,
                    reservation: None,
                    cause,
                },
            )?;
        }
        let moved = self
            .stock
            .cell(cell)
            .ok_or_else(|| Violation(format!("there is no cell {cell:?}")))?;
        Ok(self.stock.view(cell.sku, moved))
    }
}

/// Sellable units that turn out not to be there.
pub(crate) struct Drained {
    /// Free, safety and the first pool in one step, every other pool in its own.
    pub(crate) steps: Vec<Deltas>,
    /// What could not be taken.
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
