//! Reads from a shard: their freshness, and their answers.

use holdfast_ledger::{Position, QueryReply};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Freshness that an answer must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The answer contains everything acknowledged before the query was sent. Costs a round trip of the
    /// leader to a quorum.
    Linearizable,
    /// The answer is whatever this replica knows, and says how old it is.
    Stale,
}

/// An answer and its position in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Answer to the query.
    pub reply: QueryReply,
    /// The last entry that the answer contains.
    pub position: Position,
    /// The last change that the answer contains.
    pub last_seq: u64,
    /// Age in milliseconds: 0 for a linearizable answer. Otherwise the time since this replica last heard
    /// from a leader, in which it may have missed something.
    pub age_ms: u64,
}

/// Time since which this replica's state may miss something.
///
/// A leader's message says which entries are committed. Once those are applied, the state was complete when
/// the message came.
#[derive(Debug, Default)]
pub(crate) struct Freshest {
    complete_at: Option<Instant>,
    waiting: Option<(u64, Instant)>,
}

impl Freshest {
    /// Records that the leader reported entries up to `committed_index` as committed.
    pub(crate) fn heard(&mut self, committed_index: u64) {
        if self.waiting.is_none() {
            self.waiting = Some((committed_index, Instant::now()));
        }
    }

    /// Returns when the state was last known to be complete.
    pub(crate) fn complete_at(&mut self, applied_index: u64) -> Option<Instant> {
        if let Some((index, at)) = self.waiting
            && applied_index >= index
        {
            self.complete_at = Some(at);
            self.waiting = None;
        }
        self.complete_at
    }
}
