//! The orders that are decided in this shard, and the times at which each is due.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{
    Cause, LedgerOptions, Position, Reference, ReservationId, ReserveMode, Settlement, ShardNumber, Standing,
    Verdict, Violation,
};

use super::sorted_map::SortedMap;

/// An order over several shards, at its home. The home's own units are in the reservation of the same id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) home: ShardNumber,
    /// The fingerprint of the order. 0 in a tombstone, for which nobody has said what the order is.
    pub(crate) fingerprint: u64,
    pub(crate) attempt: u32,
    /// The participants of this attempt. Empty in a tombstone.
    pub(crate) participants: BTreeSet<ShardNumber>,
    pub(crate) ttl_ms: u64,
    pub(crate) mode: ReserveMode,
    pub(crate) reference: Reference,
    /// Log time at which the order reached its present state.
    pub(crate) since_ms: u64,
    pub(crate) state: OrderState,
    /// Participants that have not followed yet.
    pub(crate) unacknowledged: BTreeSet<ShardNumber>,
    /// The cause of the last decision.
    pub(crate) cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum OrderState {
    Undecided,
    Aborted,
    Decided(Decided),
}

/// An order that was held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Decided {
    pub(crate) position: Position,
    pub(crate) first_expires_at_ms: u64,
    pub(crate) incarnations: BTreeMap<ShardNumber, u64>,
    pub(crate) version: u32,
    pub(crate) verdict: Verdict,
    pub(crate) expires_at_ms: u64,
}

impl Order {
    pub(crate) fn standing(&self) -> Standing {
        let attempt = self.attempt;
        match &self.state {
            OrderState::Undecided => Standing::Undecided { attempt },
            OrderState::Aborted => Standing::Aborted { attempt },
            OrderState::Decided(decided) => Standing::Decided {
                attempt,
                position: decided.position,
                first_expires_at_ms: decided.first_expires_at_ms,
                incarnations: decided.incarnations.clone(),
                verdict: decided.verdict,
            },
        }
    }

    /// Returns the settlement for a participant. None while the order is undecided.
    pub(crate) fn settlement(&self, shard: ShardNumber) -> Option<Settlement> {
        match &self.state {
            OrderState::Undecided => None,
            OrderState::Aborted => {
                let abort = Settlement::abort(self.attempt, self.cause.clone());
                Some(abort.of_order(self.fingerprint))
            }
            OrderState::Decided(decided) => Some(Settlement::decided(
                (self.attempt, decided.incarnations.get(&shard).copied()?),
                (decided.version, decided.verdict),
                decided.expires_at_ms,
                self.cause.clone(),
            )),
        }
    }

    /// Returns the version that an acknowledgement must name.
    pub(crate) fn version(&self) -> u32 {
        match &self.state {
            OrderState::Decided(decided) => decided.version,
            OrderState::Undecided | OrderState::Aborted => 0,
        }
    }

    fn check(&self) -> Result<(), String> {
        let known = |shard: &ShardNumber| self.participants.contains(shard);
        let fits = match &self.state {
            OrderState::Undecided => known(&self.home) && self.unacknowledged.is_empty(),
            OrderState::Aborted => self.unacknowledged.iter().all(known),
            OrderState::Decided(decided) => {
                let complete = self.mode == ReserveMode::BestEffort
                    || decided.incarnations.len() == self.participants.len();
                complete
                    && decided.incarnations.contains_key(&self.home)
                    && decided.incarnations.keys().all(known)
                    && self.unacknowledged.iter().all(known)
                    && decided.verdict != Verdict::Aborted
                    && decided.version >= 1
            }
        };
        if self.attempt == 0 || self.unacknowledged.contains(&self.home) || !fits {
            return Err(format!("it contradicts itself: {self:?}"));
        }
        Ok(())
    }
}

/// Orders by reservation id. The queues follow from the orders.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    by_id: SortedMap<ReservationId, Arc<Order>>,
    /// The time at which each undecided order is aborted, or each held order expires.
    ends: SortedMap<(u64, ReservationId), ()>,
    /// The first time at which each closed and acknowledged order may be forgotten.
    closed: SortedMap<(u64, ReservationId), ()>,
    /// Orders by each participant that has not acknowledged them.
    unsettled: BTreeMap<ShardNumber, BTreeSet<ReservationId>>,
    unsettled_count: usize,
}

impl Orders {
    pub(crate) fn get(&self, id: &ReservationId) -> Option<&Order> {
        self.by_id.get(id).map(Arc::as_ref)
    }

    pub(crate) fn map(&self) -> &SortedMap<ReservationId, Arc<Order>> {
        &self.by_id
    }

    /// Adds an order. It may replace an order with this id only if all attempts of that order were aborted.
    pub(crate) fn insert(
        &mut self,
        id: ReservationId,
        order: Order,
        options: &LedgerOptions,
    ) -> Result<(), Violation> {
        let before = self.remove(&id, options);
        if before.is_some_and(|before| before.state != OrderState::Aborted) {
            return Err(Violation(format!("order {id} was begun and is there already")));
        }
        self.enqueue(id, &order, options);
        self.by_id.insert(id, Arc::new(order));
        Ok(())
    }

    /// Changes an order in place and updates the queues. None when no order has this id.
    pub(crate) fn update<R>(
        &mut self,
        id: &ReservationId,
        options: &LedgerOptions,
        change: impl FnOnce(&mut Order) -> R,
    ) -> Option<R> {
        let mut order = self.remove(id, options)?;
        let result = change(&mut order);
        self.enqueue(*id, &order, options);
        self.by_id.insert(*id, Arc::new(order));
        Some(result)
    }

    pub(crate) fn remove(&mut self, id: &ReservationId, options: &LedgerOptions) -> Option<Order> {
        let order = Arc::unwrap_or_clone(self.by_id.remove(id)?);
        match due(id, &order, options) {
            Due::End(at) => drop(self.ends.remove(&(at, *id))),
            Due::Forgetting(at) => drop(self.closed.remove(&(at, *id))),
            Due::Acknowledgement => {}
        }
        self.unsettled_count -= usize::from(!order.unacknowledged.is_empty());
        for shard in &order.unacknowledged {
            if let Some(ids) = self.unsettled.get_mut(shard) {
                ids.remove(id);
                if ids.is_empty() {
                    self.unsettled.remove(shard);
                }
            }
        }
        Some(order)
    }

    /// Returns the undecided or held order whose time is over first.
    pub(crate) fn first_end(&self) -> Option<(u64, ReservationId)> {
        self.ends.first().map(|(end, ())| *end)
    }

    pub(crate) fn first_closed(&self) -> Option<(u64, ReservationId)> {
        self.closed.first().map(|(due, ())| *due)
    }

    /// Returns up to `limit` orders for each participant that has not acknowledged them.
    pub(crate) fn unsettled(
        &self,
        limit: usize,
    ) -> impl Iterator<Item = (ShardNumber, &ReservationId, &Order)> {
        self.unsettled.iter().flat_map(move |(shard, ids)| {
            let ids = ids.iter().take(limit);
            ids.filter_map(|id| Some((*shard, id, self.get(id)?)))
        })
    }

    pub(crate) fn unsettled_count(&self) -> usize {
        self.unsettled_count
    }

    pub(crate) fn from_snapshot(
        by_id: SortedMap<ReservationId, Arc<Order>>,
        options: &LedgerOptions,
    ) -> Self {
        let mut all = Self::default();
        for (id, order) in by_id.iter() {
            all.enqueue(*id, order, options);
        }
        Self { by_id, ..all }
    }

    pub(crate) fn check(&self, options: &LedgerOptions) -> Result<(), String> {
        let mut expected = Self::default();
        for (id, order) in self.by_id.iter() {
            order.check().map_err(|error| format!("order {id}: {error}"))?;
            expected.enqueue(*id, order, options);
        }
        if expected.ends != self.ends
            || expected.closed != self.closed
            || expected.unsettled != self.unsettled
            || expected.unsettled_count != self.unsettled_count
        {
            return Err("the queues do not follow from the orders".to_owned());
        }
        Ok(())
    }

    pub(crate) fn check_one(&self, id: &ReservationId) -> Result<(), String> {
        self.get(id).map_or(Ok(()), Order::check)
    }

    fn enqueue(&mut self, id: ReservationId, order: &Order, options: &LedgerOptions) {
        match due(&id, order, options) {
            Due::End(at) => drop(self.ends.insert((at, id), ())),
            Due::Forgetting(at) => drop(self.closed.insert((at, id), ())),
            Due::Acknowledgement => {}
        }
        self.unsettled_count += usize::from(!order.unacknowledged.is_empty());
        for shard in &order.unacknowledged {
            self.unsettled.entry(*shard).or_default().insert(id);
        }
    }
}

enum Due {
    End(u64),
    Forgetting(u64),
    Acknowledgement,
}

fn due(id: &ReservationId, order: &Order, options: &LedgerOptions) -> Due {
    let retention_ms = match &order.state {
        OrderState::Undecided => return Due::End(order.since_ms.saturating_add(options.order_decision_ms)),
        OrderState::Decided(decided) if decided.verdict == Verdict::Held => {
            return Due::End(decided.expires_at_ms);
        }
        OrderState::Decided(decided) if decided.verdict == Verdict::Committed => options.shipped_retention_ms,
        OrderState::Decided(_) | OrderState::Aborted => options.closed_retention_ms,
    };
    if !order.unacknowledged.is_empty() {
        return Due::Acknowledgement;
    }
    let retained_until = order
        .since_ms
        .saturating_add(retention_ms.max(options.operation_window_ms));
    let answerable_until = id.time_ms().saturating_add(options.operation_window_ms);
    Due::Forgetting(retained_until.max(answerable_until).saturating_add(1))
}
