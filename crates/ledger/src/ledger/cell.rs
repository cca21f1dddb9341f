//! Cells. A cell is the stock of one SKU in one warehouse, and this module has the only way to change it.

use serde::{Deserialize, Serialize};

use crate::Disposition;
use crate::{Bucket, BucketMove, BucketMoves};

/// The units of one SKU in one warehouse, by bucket. At every moment
/// `on_hand = free + sum of pools + safety + held + committed + damaged + quality_hold - deficit -
/// backordered`.
///
/// No term is negative. While `deficit > 0`, nothing is free, pooled or in safety. While `backordered > 0`,
/// nothing is free. The two together never exceed the promised units (`held + committed`). So units that are
/// ring-fenced, kept back, damaged or under inspection are always really there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) warehouse: u16,
    pub(crate) on_hand: i64,
    pub(crate) free: i64,
    /// Pools in order of storefront name, none empty.
    pub(crate) pools: Vec<Pool>,
    pub(crate) safety: i64,
    pub(crate) held: i64,
    pub(crate) committed: i64,
    pub(crate) damaged: i64,
    pub(crate) quality_hold: i64,
    pub(crate) deficit: i64,
    pub(crate) backordered: i64,
    /// Units on the way here. Not part of the sum above.
    pub(crate) in_transit: i64,
    pub(crate) flows: Flows,
}

/// Units ring-fenced for one storefront.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pool {
    pub(crate) storefront: u16,
    pub(crate) quantity: i64,
}

/// The sums of all movements of `on_hand`, which equals `received + returned + transferred_in -
/// transferred_out + adjusted - shipped`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Flows {
    pub(crate) received: i64,
    pub(crate) returned: i64,
    pub(crate) transferred_in: i64,
    pub(crate) transferred_out: i64,
    /// Units from corrections and recounts. May be negative.
    pub(crate) adjusted: i64,
    pub(crate) shipped: i64,
}

/// The reason why `on_hand` moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Received,
    Returned,
    Adjusted,
    Shipped,
    TransferredIn,
    TransferredOut,
}

/// One step of a cell: the gain or loss of each bucket. Each step becomes one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Deltas {
    pub(crate) on_hand: i64,
    /// The reason. Set when `on_hand` moves.
    pub(crate) flow: Option<Flow>,
    pub(crate) free: i64,
    /// The storefront's number, and the gain or loss of its pool.
    pub(crate) pool: Option<(u16, i64)>,
    pub(crate) safety: i64,
    pub(crate) held: i64,
    pub(crate) committed: i64,
    pub(crate) damaged: i64,
    pub(crate) quality_hold: i64,
    pub(crate) deficit: i64,
    pub(crate) backordered: i64,
    pub(crate) in_transit: i64,
}

/// The reason why a step was not taken. The cell is unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum StepError {
    /// The only failure that a command can cause. The command is refused.
    #[error("{0} would not fit 64 bits")]
    Overflow(&'static str),
    #[error("{0} would be negative")]
    Negative(&'static str),
    #[error("what goes into the buckets is not what comes into the warehouse")]
    Unbalanced,
}

fn add(what: &'static str, value: i64, delta: i64) -> Result<i64, StepError> {
    let sum = value.checked_add(delta).ok_or(StepError::Overflow(what))?;
    if sum < 0 {
        Err(StepError::Negative(what))
    } else {
        Ok(sum)
    }
}

impl Deltas {
    fn pool_delta(&self) -> i64 {
        self.pool.map_or(0, |(_, delta)| delta)
    }

    /// Returns the sum of two steps. Both must move the pool of the same storefront, if they move any.
    pub(crate) fn and_of_pool(&self, other: &Self) -> Self {
        let storefront = self.pool.or(other.pool).map(|(storefront, _)| storefront);
        let pool = storefront.map(|storefront| (storefront, self.pool_delta() + other.pool_delta()));
        Self {
            on_hand: self.on_hand + other.on_hand,
            flow: self.flow.or(other.flow),
            free: self.free + other.free,
            pool: pool.filter(|(_, delta)| *delta != 0),
            safety: self.safety + other.safety,
            held: self.held + other.held,
            committed: self.committed + other.committed,
            damaged: self.damaged + other.damaged,
            quality_hold: self.quality_hold + other.quality_hold,
            deficit: self.deficit + other.deficit,
            backordered: self.backordered + other.backordered,
            in_transit: self.in_transit + other.in_transit,
        }
    }

    fn is_balanced(&self) -> bool {
        let buckets = [
            self.free,
            self.pool_delta(),
            self.safety,
            self.held,
            self.committed,
            self.damaged,
            self.quality_hold,
        ];
        let sum: i128 = buckets.into_iter().map(i128::from).sum();
        i128::from(self.on_hand) == sum - i128::from(self.deficit) - i128::from(self.backordered)
            && (self.on_hand == 0 || self.flow.is_some())
    }
}

impl Cell {
    pub(crate) fn new(warehouse: u16) -> Self {
        Self {
            warehouse,
            ..Self::default()
        }
    }

    /// Returns the units in the pool of a storefront. `ranks` is the order of the storefronts' names.
    pub(crate) fn pool(&self, storefront: u16, ranks: &[u16]) -> i64 {
        self.find_pool(storefront, ranks)
            .map_or(0, |at| self.pools[at].quantity)
    }

    fn find_pool(&self, storefront: u16, ranks: &[u16]) -> Result<usize, usize> {
        let rank = ranks[usize::from(storefront)];
        self.pools
            .binary_search_by_key(&rank, |pool| ranks[usize::from(pool.storefront)])
    }

    /// Returns the promised units, at most [`i64::MAX`].
    pub(crate) fn promised(&self) -> i64 {
        self.held + self.committed
    }

    /// Returns the units that are promised, or would be if everything free and pooled were. At most
    /// [`i64::MAX`].
    pub(crate) fn promisable(&self) -> i64 {
        let pooled: i64 = self.pools.iter().map(|pool| pool.quantity).sum();
        self.promised() + self.free + pooled
    }

    /// Returns the promised units that are not there.
    pub(crate) fn owed(&self) -> i64 {
        self.deficit + self.backordered
    }

    /// Returns the units that can be shipped: the promised units that are really there.
    pub(crate) fn shippable(&self) -> i64 {
        self.promised() - self.owed()
    }

    /// Takes one step completely, or not at all.
    pub(crate) fn step(&mut self, deltas: &Deltas, ranks: &[u16]) -> Result<(), StepError> {
        if !deltas.is_balanced() {
            return Err(StepError::Unbalanced);
        }
        let on_hand = add("on_hand", self.on_hand, deltas.on_hand)?;
        let free = add("free", self.free, deltas.free)?;
        let safety = add("safety", self.safety, deltas.safety)?;
        let held = add("held", self.held, deltas.held)?;
        let committed = add("committed", self.committed, deltas.committed)?;
        let damaged = add("damaged", self.damaged, deltas.damaged)?;
        let quality_hold = add("quality_hold", self.quality_hold, deltas.quality_hold)?;
        let deficit = add("deficit", self.deficit, deltas.deficit)?;
        let backordered = add("backordered", self.backordered, deltas.backordered)?;
        let in_transit = add("in_transit", self.in_transit, deltas.in_transit)?;
        let flows = match deltas.flow {
            Some(flow) => Some(self.flows.plus(flow, deltas.on_hand)?),
            None => None,
        };
        // Only this can still fail, and then it leaves the pools unchanged.
        if let Some((storefront, delta)) = deltas.pool {
            self.step_pool(storefront, delta, ranks)?;
        }
        if let Some(flows) = flows {
            self.flows = flows;
        }
        self.on_hand = on_hand;
        self.free = free;
        self.safety = safety;
        self.held = held;
        self.committed = committed;
        self.damaged = damaged;
        self.quality_hold = quality_hold;
        self.deficit = deficit;
        self.backordered = backordered;
        self.in_transit = in_transit;
        Ok(())
    }

    fn step_pool(&mut self, storefront: u16, delta: i64, ranks: &[u16]) -> Result<(), StepError> {
        match self.find_pool(storefront, ranks) {
            Ok(at) => {
                let quantity = add("pool", self.pools[at].quantity, delta)?;
                if quantity == 0 {
                    self.pools.remove(at);
                } else {
                    self.pools[at].quantity = quantity;
                }
            }
            Err(at) => {
                let quantity = add("pool", 0, delta)?;
                if quantity > 0 {
                    self.pools.insert(at, Pool { storefront, quantity });
                }
            }
        }
        Ok(())
    }

    /// Returns the buckets that a step moved, in order of [`Bucket`]. The step must already be taken.
    pub(crate) fn moves(&self, deltas: &Deltas, ranks: &[u16]) -> BucketMoves {
        let (storefront, pool_delta) = deltas.pool.unwrap_or_default();
        let pool_after = if pool_delta == 0 {
            0
        } else {
            self.pool(storefront, ranks)
        };
        let all = [
            (Bucket::OnHand, deltas.on_hand, self.on_hand),
            (Bucket::Free, deltas.free, self.free),
            (Bucket::Pool, pool_delta, pool_after),
            (Bucket::Safety, deltas.safety, self.safety),
            (Bucket::Held, deltas.held, self.held),
            (Bucket::Committed, deltas.committed, self.committed),
            (Bucket::Damaged, deltas.damaged, self.damaged),
            (Bucket::QualityHold, deltas.quality_hold, self.quality_hold),
            (Bucket::Deficit, deltas.deficit, self.deficit),
            (Bucket::Backordered, deltas.backordered, self.backordered),
            (Bucket::InTransit, deltas.in_transit, self.in_transit),
        ];
        all.into_iter()
            .filter(|(_, delta, _)| *delta != 0)
            .map(|(bucket, delta, after)| BucketMove { bucket, delta, after })
            .collect()
    }

    /// Returns the step for units that become sellable. They fill the deficit first, then backordered units.
    /// The rest is free.
    pub(crate) fn sellable(&self, quantity: i64) -> Deltas {
        let found = quantity.min(self.deficit);
        let arrived = (quantity - found).min(self.backordered);
        Deltas {
            deficit: -found,
            backordered: -arrived,
            free: quantity - found - arrived,
            ..Deltas::default()
        }
    }

    /// Returns the step for promised units that go back to where they were taken from. Units that were not
    /// taken from the pool become sellable. Units from the pool fill the rest of the deficit. They fill
    /// backordered units only as far as other units were shipped in their place. Otherwise a hold that ends
    /// would give ring-fenced units away.
    pub(crate) fn give_back(&self, storefront: u16, to_pool: i64, to_sellable: i64) -> Deltas {
        let shared = self.sellable(to_sellable);
        let found = to_pool.min(self.deficit + shared.deficit);
        let still_owed = self.owed() + shared.deficit + shared.backordered - found;
        let still_promised = self.promised() - to_sellable - to_pool;
        let shipped_to_others = (still_owed - still_promised).max(0);
        let pool = to_pool - found - shipped_to_others;
        Deltas {
            deficit: shared.deficit - found,
            backordered: shared.backordered - shipped_to_others,
            pool: (pool > 0).then_some((storefront, pool)),
            ..shared
        }
    }

    /// Checks the cell by itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        let terms = [
            self.on_hand,
            self.free,
            self.safety,
            self.held,
            self.committed,
            self.damaged,
            self.quality_hold,
        ];
        let beside = [self.deficit, self.backordered, self.in_transit];
        if terms.into_iter().chain(beside).any(|term| term < 0) {
            return Err(format!("a bucket is negative: {self:?}"));
        }
        if self.pools.iter().any(|pool| pool.quantity <= 0) {
            return Err(format!("an empty or negative pool: {self:?}"));
        }
        let pooled: i128 = self.pools.iter().map(|pool| i128::from(pool.quantity)).sum();
        let buckets: i128 = terms[1..].iter().copied().map(i128::from).sum::<i128>() + pooled;
        let owed = i128::from(self.deficit) + i128::from(self.backordered);
        if i128::from(self.on_hand) != buckets - owed {
            return Err(format!("the buckets do not add up to on_hand: {self:?}"));
        }
        if self.deficit > 0 && (self.free > 0 || self.safety > 0 || !self.pools.is_empty()) {
            return Err(format!("a deficit beside sellable stock: {self:?}"));
        }
        if self.backordered > 0 && self.free > 0 {
            return Err(format!("backordered beside free stock: {self:?}"));
        }
        let promised = i128::from(self.held) + i128::from(self.committed);
        if owed > promised {
            return Err(format!("more is missing than what is promised: {self:?}"));
        }
        if promised + i128::from(self.free) + pooled > i128::from(i64::MAX) {
            return Err(format!("more than 64 bits could be promised: {self:?}"));
        }
        if self.flows.balance() != i128::from(self.on_hand) {
            return Err(format!(
                "on_hand is not what came in minus what went out: {self:?}"
            ));
        }
        Ok(())
    }
}

impl Flows {
    fn balance(&self) -> i128 {
        let into = [self.received, self.returned, self.transferred_in, self.adjusted];
        let out = [self.transferred_out, self.shipped];
        into.into_iter().map(i128::from).sum::<i128>() - out.into_iter().map(i128::from).sum::<i128>()
    }

    fn plus(&self, flow: Flow, on_hand: i64) -> Result<Self, StepError> {
        let mut after = self.clone();
        match flow {
            Flow::Received => after.received = add("received", self.received, on_hand)?,
            Flow::Returned => after.returned = add("returned", self.returned, on_hand)?,
            Flow::Adjusted => {
                after.adjusted = self
                    .adjusted
                    .checked_add(on_hand)
                    .ok_or(StepError::Overflow("adjusted"))?;
            }
            Flow::Shipped => {
                let gone = on_hand.checked_neg().ok_or(StepError::Overflow("shipped"))?;
                after.shipped = add("shipped", self.shipped, gone)?;
            }
            Flow::TransferredIn => {
                after.transferred_in = add("transferred_in", self.transferred_in, on_hand)?;
            }
            Flow::TransferredOut => {
                let gone = on_hand
                    .checked_neg()
                    .ok_or(StepError::Overflow("transferred_out"))?;
                after.transferred_out = add("transferred_out", self.transferred_out, gone)?;
            }
        }
        Ok(after)
    }
}

/// Returns the step of a cell for goods that come in.
pub(crate) fn into_buckets(cell: &Cell, quantity: i64, disposition: Disposition, flow: Flow) -> Deltas {
    let into = match disposition {
        Disposition::Restock => cell.sellable(quantity),
        Disposition::Damaged => Deltas {
            damaged: quantity,
            ..Deltas::default()
        },
        Disposition::QualityHold => Deltas {
            quality_hold: quantity,
            ..Deltas::default()
        },
    };
    Deltas {
        on_hand: quantity,
        flow: Some(flow),
        ..into
    }
}
