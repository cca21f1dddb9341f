//! The place of a decision: a shard, and an entry of its log.

use serde::{Deserialize, Serialize};

/// The number of a shard.
pub type ShardNumber = u32;

/// The place of a decision in the log of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The entry's index in the shard's log.
    pub log_index: u64,
    /// Its log time.
    pub log_time_ms: u64,
}
