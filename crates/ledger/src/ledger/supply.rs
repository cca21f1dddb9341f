//! One supply that is expected, and what a command does to it.

use serde::{Deserialize, Serialize};

use crate::SupplyId;

/// The units that one supply still expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Supply {
    /// At least 1.
    pub(crate) quantity: i64,
    pub(crate) expected_at_ms: u64,
}

/// The effect of a command on a supply.
pub(crate) enum SupplyStep<'a> {
    /// Sets the supply to this.
    Expect(&'a SupplyId, Supply),
    /// Receives this many of its units.
    Receive(&'a SupplyId, i64),
}
