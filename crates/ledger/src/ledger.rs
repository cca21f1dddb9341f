//! The state and `apply`.

use crate::{Action, Change, Command, Entry, Outcome, Query, QueryReply, Refusal};

/// What is fixed when a shard is made. Part of the state: every replica has the same.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LedgerOptions {
    /// How long an operation id is remembered, in log time. 24 h by default.
    pub operation_window_ms: u64,
    /// How far an operation id's time may lie ahead of log time. 1 h by default.
    pub operation_lead_ms: u64,
    /// How long a closed reservation that never shipped is kept. At least the window. 24 h by default.
    pub closed_retention_ms: u64,
    /// How long a shipped reservation is kept, for returns. 90 days by default.
    pub shipped_retention_ms: u64,
}

impl Default for LedgerOptions {
    fn default() -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            operation_window_ms: 24 * HOUR_MS,
            operation_lead_ms: HOUR_MS,
            closed_retention_ms: 24 * HOUR_MS,
            shipped_retention_ms: 90 * 24 * HOUR_MS,
        }
    }
}

/// What applying one entry did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// One for each command, in order.
    pub outcomes: Vec<Outcome>,
    /// In order of their sequence numbers.
    pub changes: Vec<Change>,
}

/// An invariant does not hold: the shard must stop.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invariant violated: {0}")]
pub struct Violation(pub String);

/// The state of one shard.
#[derive(Debug, Clone)]
pub struct Ledger {}
#[allow(clippy::todo, unused)]
impl Ledger {
    /// An empty ledger.
    pub fn new(options: LedgerOptions) -> Self { todo!() }
    /// Applies one entry at its index in the log. Deterministic.
    pub fn apply(&mut self, log_index: u64, entry: &Entry) -> Result<Applied, Violation> { todo!() }
    /// Would this command certainly be refused for lack of stock or state if it were applied now? Used on a confirmed
    /// read to refuse without a log write. A known operation id is answered with its replay.
    /// None: it has to go through the log.
    pub fn preview(&self, now_ms: u64, command: &Command) -> Option<Outcome> { todo!() }
    /// Answers a query.
    pub fn query(&self, query: &Query) -> Result<QueryReply, Refusal> { todo!() }
    /// Log time of the last applied entry.
    pub fn log_time_ms(&self) -> u64 { todo!() }
    /// The sequence number of the last change; 0 at first.
    pub fn last_seq(&self) -> u64 { todo!() }
    /// When the next hold or remembered thing is due: the leader proposes an empty entry then.
    pub fn next_due_ms(&self) -> Option<u64> { todo!() }
    /// How many cells there are.
    pub fn cell_count(&self) -> u64 { todo!() }
    /// How many reservations are held or committed.
    pub fn live_reservation_count(&self) -> u64 { todo!() }
    /// Checks every invariant on the whole state.
    pub fn check(&self) -> Result<(), Violation> { todo!() }
    /// BLAKE3 of the canonical snapshot bytes.
    pub fn digest(&self) -> [u8; 32] { todo!() }
    /// The versioned snapshot.
    pub fn encode(&self) -> Vec<u8> { todo!() }
    /// Reads a snapshot of any supported version; checks every invariant.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> { todo!() }
}
