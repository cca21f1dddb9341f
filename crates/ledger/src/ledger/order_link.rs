//! The link from a reservation to its order over several shards.

use serde::{Deserialize, Serialize};

use crate::ShardNumber;

/// The link from a reservation to the order that it is part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct OrderLink {
    pub(crate) home: ShardNumber,
    pub(crate) attempt: u32,
    /// The log index of its Prepare.
    pub(crate) incarnation: u64,
    /// The version of the last settlement that it followed. 0 while it is prepared.
    pub(crate) version: u32,
    pub(crate) fingerprint: u64,
}
