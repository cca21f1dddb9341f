//! The state of a shard and `apply`.
//!
//! Every command is first *decided*, which only reads the state and may refuse. Then it is *executed*, which
//! cannot refuse any more. So a refusal leaves nothing behind, and [`Ledger::preview`] is the decision alone.

mod apply;
mod cell;
mod cell_key;
mod cells;
mod chunked_vec;
mod claims;
mod consumers;
mod count;
mod decide;
mod deficits;
mod dispatch;
mod fulfilment;
mod home;
mod invariants;
mod late;
mod late_goods;
mod line_step;
mod merged;
mod movements;
mod names;
mod operations;
mod order_link;
mod orders;
mod packed_reservation;
mod participant;
mod policies;
mod preview;
mod promise;
mod query;
mod references;
mod replacing;
mod reservation;
mod reservations;
mod reserve;
mod seal;
mod snapshot;
mod sorted_map;
mod sourcing;
mod stock;
mod stocking;
mod supplies;
mod supply;
mod takes;
#[cfg(test)]
mod tests;
mod transfer_commands;
mod transfers;
mod transitions;
mod varint;
mod weigh;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::{Change, Outcome, ReservationId, Rules};

use consumers::Consumers;
use operations::Operations;
use orders::Orders;
use policies::Policies;
use references::References;
use replacing::Replacement;
use reservations::Reservations;
pub(crate) use reserve::merged_lines;
use stock::Stock;
use supplies::Supplies;
use transfers::Transfers;

/// The options of a shard, which are fixed when it is made. They are part of the state, so every replica has
/// the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LedgerOptions {
    /// The time for which an operation id is remembered, in log time. 24 h by default.
    pub operation_window_ms: u64,
    /// The most that an operation id's time may be ahead of log time. 1 h by default.
    pub operation_lead_ms: u64,
    /// The time for which a closed reservation that never shipped, or a closed transfer, is kept. Less than
    /// the window counts as the window. 24 h by default.
    pub closed_retention_ms: u64,
    /// The time for which a shipped reservation is kept, for returns. Less than the window counts as the
    /// window. 90 days by default.
    pub shipped_retention_ms: u64,
    /// The time that an order over several shards may wait for its decision before it is aborted, in log
    /// time. 10 s by default.
    pub order_decision_ms: u64,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            operation_window_ms: 24 * HOUR_MS,
            operation_lead_ms: HOUR_MS,
            closed_retention_ms: 24 * HOUR_MS,
            shipped_retention_ms: 90 * 24 * HOUR_MS,
            order_decision_ms: 10_000,
        }
    }
}

/// The effects of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One outcome for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// Changes in order of their sequence numbers. Those of expired holds come first. Every successful
    /// command has at least one change, except for replays, seals, the adoption of rules, and commands about
    /// consumers.
    pub changes: Vec<Change>,
}

/// A violated invariant: the replica must halt, and this state must not be used any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant violated: {0}")]
pub struct Violation(pub String);

/// The state of one shard.
#[derive(Debug, Clone)]
pub struct Ledger {
    options: LedgerOptions,
    rules: Rules,
    /// Index of the last applied entry. None at first.
    log_index: Option<u64>,
    log_time_ms: u64,
    stock: Stock,
    /// Policies. A copy of the ledger shares them until one is set.
    policies: Arc<Policies>,
    reservations: Reservations,
    orders: Orders,
    operations: Operations,
    supplies: Supplies,
    transfers: Transfers,
    references: References,
    /// Replacements that wait for their decision, by the new hold's id. Present in each shard that keeps
    /// units for the new hold, and at its home.
    replacements: BTreeMap<ReservationId, Replacement>,
    consumers: Consumers,
}

/// The time that forgetting waits for an entry that comes anyway, in milliseconds. Forgetting is not urgent.
const FORGETTING_MAY_WAIT_MS: u64 = 60_000;

impl Ledger {
    /// Builds an empty ledger that decides by the first rules until its log adopts others.
    pub fn new(options: LedgerOptions) -> Self {
        Self::with_rules(options, Rules::First)
    }

    /// Builds an empty ledger that decides by these rules from its beginning.
    pub fn with_rules(options: LedgerOptions, rules: Rules) -> Self {
        Self {
            options,
            rules,
            log_index: None,
            log_time_ms: 0,
            stock: Stock::new(rules),
            policies: Arc::default(),
            reservations: Reservations::default(),
            orders: Orders::default(),
            operations: Operations::default(),
            supplies: Supplies::default(),
            transfers: Transfers::default(),
            references: References::default(),
            replacements: BTreeMap::new(),
            consumers: Consumers::default(),
        }
    }

    /// Returns the options that were fixed when the shard was made.
    pub fn options(&self) -> &LedgerOptions {
        &self.options
    }

    /// Returns the rules by which the next command is decided.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Returns the log index of the last applied entry. None at first.
    pub fn log_index(&self) -> Option<u64> {
        self.log_index
    }

    /// Returns the log time of the last applied entry. 0 at first.
    pub fn log_time_ms(&self) -> u64 {
        self.log_time_ms
    }

    /// Returns the sequence number of the last change. 0 at first.
    pub fn last_seq(&self) -> u64 {
        self.stock.last_seq
    }

    /// Returns the log time at which the leader should propose an entry, even an empty one. It is the end of
    /// the next hold, or the next end of an order (of its time for a decision, or of its hold). Or it is some
    /// time after the next operation, closed reservation, closed order or closed transfer may be forgotten.
    /// None if nothing is waiting.
    pub fn next_due_ms(&self) -> Option<u64> {
        let hold = self.reservations.first_hold().map(|(at, _)| at);
        let later = |at: u64| at.saturating_add(FORGETTING_MAY_WAIT_MS);
        let order = self.orders.first_end().map(|(at, _)| at);
        let closed = self.reservations.first_closed().map(|(at, _)| later(at));
        let closed_order = self.orders.first_closed().map(|(at, _)| later(at));
        let arrived = self.transfers.first_closed().map(|(at, _)| later(at));
        let operation = self.operations.first_due_ms(&self.options).map(later);
        [hold, order, closed, closed_order, arrived, operation]
            .into_iter()
            .flatten()
            .min()
    }

    /// Returns the number of orders with a participant that has not acknowledged the last decision.
    pub fn unsettled_order_count(&self) -> u64 {
        self.orders.unsettled_count() as u64
    }

    /// Returns the number of reservations that wait for the decision of an order over several shards, and the
    /// log time since when the oldest of them waits. 0 when none waits.
    pub fn prepared(&self) -> (u64, u64) {
        // Ids sort by their time.
        let oldest = self
            .reservations
            .prepared()
            .filter_map(|mut of_home| of_home.next());
        let since_ms = oldest.map(|(_, reservation)| reservation.created_at_ms).min();
        let since_ms = since_ms.unwrap_or(0);
        (self.reservations.prepared_count() as u64, since_ms)
    }

    /// Returns the number of cells.
    pub fn cell_count(&self) -> u64 {
        self.stock.cell_count
    }

    /// Returns the number of cells with a deficit, and the number of units that they lack together.
    pub fn deficit(&self) -> (u64, u64) {
        let units = u64::try_from(self.stock.deficit_units).unwrap_or_default();
        (self.stock.deficits.len() as u64, units)
    }

    /// Returns the number of reservations that are held or committed.
    pub fn live_reservation_count(&self) -> u64 {
        self.reservations.live()
    }
}
