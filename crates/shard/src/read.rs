//! Reading from a shard: how fresh, and what comes back.

use holdfast_ledger::{Position, QueryReply};
use serde::{Deserialize, Serialize};

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
