//! Reading from a shard: how fresh, and what comes back.

use holdfast_ledger::{Position, QueryReply};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Sees everything acknowledged before the query was sent; costs a round trip of the leader to a quorum.
    Linearizable,
    /// What this replica knows, whatever it is; the answer says how old.
    Stale,
}

/// An answer and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// What was asked for.
    pub reply: QueryReply,
    /// The last entry it contains.
    pub position: Position,
    /// The last change it contains.
    pub last_seq: u64,
    /// 0 for a linearizable answer; else for how long, in milliseconds, this replica cannot rule out that it misses
    /// something: the time since it last heard from a leader.
    pub age_ms: u64,
}

/// Since when this replica's state may miss something.
///
/// A leader's message says what is committed. Once that much is applied, the state was complete when the message came.
#[derive(Debug, Default)]
pub(crate) struct Freshest {
    complete_at: Option<Instant>,
    waiting: Option<(u64, Instant)>,
}

impl Freshest {
    /// The leader said that entries up to `committed_index` are committed.
    pub(crate) fn heard(&mut self, committed_index: u64) {
        if self.waiting.is_none() {
            self.waiting = Some((committed_index, Instant::now()));
        }
    }

    /// When the state was last known to be complete.
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
