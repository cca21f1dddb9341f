//! Reservations, and the state of each of their units.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{Reference, ReservationState, ShardNumber, SourcingReason};

use super::{order_link::OrderLink, takes::Take};

/// The units that were granted for one request. A closed reservation stays for a while, for retries of its
/// operations and for returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reservation {
    pub(crate) storefront: u16,
    pub(crate) state: ReservationState,
    pub(crate) created_at_ms: u64,
    pub(crate) expires_at_ms: u64,
    /// Log time of its closing, or of its last change since then. 0 while it is open.
    pub(crate) closed_at_ms: u64,
    pub(crate) reference: Reference,
    /// The link to its order. None unless other shards have units of the same order.
    pub(crate) order: Option<OrderLink>,
    /// Lines in order of their numbers.
    pub(crate) lines: SmallVec<[Line; 1]>,
}

/// The units of one SKU and source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) number: u32,
    pub(crate) sku: u32,
    pub(crate) requested: i64,
    /// Allocations in the order in which they were granted, no warehouse twice.
    pub(crate) allocations: SmallVec<[LineAllocation; 1]>,
}

/// The units of a line from one warehouse. `from_pool + from_free + from_backorder = open + shipped +
/// released + cancelled`, and `returned <= shipped`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LineAllocation {
    pub(crate) warehouse: u16,
    /// Units that were granted from the storefront's pool.
    pub(crate) from_pool: i64,
    /// Units that were granted from free.
    pub(crate) from_free: i64,
    /// Units that were granted beyond stock.
    pub(crate) from_backorder: i64,
    /// The reason for choosing this warehouse.
    pub(crate) reason: SourcingReason,
    /// Units that are held while the reservation is held, and committed while it is committed.
    pub(crate) open: i64,
    /// The open units that came from the pool. They ship first. They are given back last, because the units
    /// that were taken last are given back first.
    pub(crate) open_from_pool: i64,
    pub(crate) shipped: i64,
    /// Units that were released or expired.
    pub(crate) released: i64,
    pub(crate) cancelled: i64,
    pub(crate) returned: i64,
}

impl LineAllocation {
    /// Builds an allocation in which all taken units are open.
    pub(crate) fn new(take: Take) -> Self {
        Self {
            warehouse: take.warehouse,
            from_pool: take.from_pool,
            from_free: take.from_free,
            from_backorder: take.from_backorder,
            reason: take.reason,
            open: take.units(),
            open_from_pool: take.from_pool,
            shipped: 0,
            released: 0,
            cancelled: 0,
            returned: 0,
        }
    }

    /// Returns the units as they were taken.
    pub(crate) fn taken(&self) -> Take {
        Take {
            warehouse: self.warehouse,
            from_pool: self.from_pool,
            from_free: self.from_free,
            from_backorder: self.from_backorder,
            reason: self.reason,
        }
    }

    pub(crate) fn granted(&self) -> i64 {
        self.from_pool + self.from_free + self.from_backorder
    }

    /// Returns the number of units that can come back.
    pub(crate) fn returnable(&self) -> i64 {
        self.shipped - self.returned
    }

    /// Removes open units that leave.
    pub(crate) fn ship(&mut self, quantity: i64) {
        self.open -= quantity;
        self.open_from_pool -= quantity.min(self.open_from_pool);
        self.shipped += quantity;
    }

    /// Removes open units that go back. Returns how many of them go to the pool, and how many become
    /// sellable.
    pub(crate) fn take_back(&mut self, quantity: i64) -> (i64, i64) {
        let to_sellable = quantity.min(self.open - self.open_from_pool);
        let to_pool = quantity - to_sellable;
        self.open -= quantity;
        self.open_from_pool -= to_pool;
        (to_pool, to_sellable)
    }
}

impl Reservation {
    pub(crate) fn is_live(&self) -> bool {
        self.is_held() || self.state == ReservationState::Committed
    }

    /// Returns whether its open units are held, and not committed.
    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, ReservationState::Prepared | ReservationState::Held)
    }

    /// Returns the shard that decides. None unless the reservation is part of an order over several shards.
    pub(crate) fn home(&self) -> Option<ShardNumber> {
        self.order.as_ref().map(|order| order.home)
    }

    pub(crate) fn allocations(&self) -> impl Iterator<Item = &LineAllocation> {
        self.lines.iter().flat_map(|line| &line.allocations)
    }

    /// Returns the state of a committed reservation, computed from where its units are.
    pub(crate) fn state_after_commit(open: i128, shipped: i128, returned: i128) -> ReservationState {
        match (open, shipped) {
            (1.., _) => ReservationState::Committed,
            (_, 0) => ReservationState::Cancelled,
            _ if shipped == returned => ReservationState::Returned,
            _ => ReservationState::Shipped,
        }
    }

    /// Checks the reservation by itself.
    pub(crate) fn check(&self) -> Result<(), String> {
        // Only the home's part of a best-effort order may have no lines: the home may not know the order's
        // SKUs.
        let may_be_empty = self.order.is_some();
        if (self.lines.is_empty() && !may_be_empty) || !self.lines.is_sorted_by(|a, b| a.number < b.number) {
            return Err("no lines, or not in order".to_owned());
        }
        let (mut open, mut shipped, mut released, mut cancelled, mut returned) =
            (0i128, 0i128, 0i128, 0i128, 0i128);
        for line in &self.lines {
            let mut granted = 0i128;
            for allocation in &line.allocations {
                allocation.check()?;
                granted += allocation.granted_exactly();
                open += i128::from(allocation.open);
                shipped += i128::from(allocation.shipped);
                released += i128::from(allocation.released);
                cancelled += i128::from(allocation.cancelled);
                returned += i128::from(allocation.returned);
            }
            if line.requested < 1 || granted > i128::from(line.requested) {
                return Err(format!("granted more than requested: {line:?}"));
            }
        }
        let fits = match self.state {
            // This is the home's part of a best-effort order that got nothing there.
            _ if self.order.is_some() && self.allocations().next().is_none() => true,
            ReservationState::Prepared if self.order.is_none() => false,
            ReservationState::Prepared | ReservationState::Held => {
                open > 0 && shipped + released + cancelled == 0
            }
            ReservationState::Released | ReservationState::Expired => {
                released > 0 && open + shipped + cancelled == 0
            }
            ReservationState::Committed => open > 0 && released == 0,
            ReservationState::Shipped => open == 0 && released == 0 && shipped > returned,
            ReservationState::Returned => open == 0 && released == 0 && shipped > 0 && shipped == returned,
            ReservationState::Cancelled => open + released + shipped == 0 && cancelled > 0,
        };
        if !fits {
            return Err(format!(
                "{:?} with {open} open, {shipped} shipped, {released} released, {cancelled} cancelled, {returned} returned",
                self.state
            ));
        }
        if self.is_live() != (self.closed_at_ms == 0) {
            return Err(format!("{:?} and closed at {}", self.state, self.closed_at_ms));
        }
        Ok(())
    }
}

impl LineAllocation {
    fn granted_exactly(&self) -> i128 {
        let from = [self.from_pool, self.from_free, self.from_backorder];
        from.into_iter().map(i128::from).sum()
    }

    fn check(&self) -> Result<(), String> {
        let all = [
            self.from_pool,
            self.from_free,
            self.from_backorder,
            self.open,
            self.open_from_pool,
            self.shipped,
            self.released,
            self.cancelled,
            self.returned,
        ];
        let granted = self.granted_exactly();
        let placed: i128 = [self.open, self.shipped, self.released, self.cancelled]
            .into_iter()
            .map(i128::from)
            .sum();
        let right = all.into_iter().all(|units| units >= 0)
            && granted > 0
            && granted == placed
            && granted <= i128::from(i64::MAX)
            && self.returned <= self.shipped
            && self.open_from_pool <= self.open
            && self.open_from_pool <= self.from_pool
            && i128::from(self.open - self.open_from_pool) <= granted - i128::from(self.from_pool);
        if right {
            Ok(())
        } else {
            Err(format!(
                "the units of a line are not in exactly one state: {self:?}"
            ))
        }
    }
}
