//! The units that a line takes from cells.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::cell::Deltas;
use crate::SourcingReason;

/// Units of one cell for one line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Take {
    pub(crate) warehouse: u16,
    pub(crate) from_pool: i64,
    pub(crate) from_free: i64,
    pub(crate) from_backorder: i64,
    pub(crate) reason: SourcingReason,
}

/// The takes of one line, nearly always one.
pub(crate) type Takes = SmallVec<[Take; 1]>;

impl Take {
    pub(crate) fn units(&self) -> i64 {
        self.from_pool + self.from_free + self.from_backorder
    }

    /// Returns the step of the cell that takes these units for a storefront.
    pub(crate) fn deltas(&self, storefront: u16) -> Deltas {
        Deltas {
            free: -self.from_free,
            pool: (self.from_pool > 0).then_some((storefront, -self.from_pool)),
            held: self.units(),
            backordered: self.from_backorder,
            ..Deltas::default()
        }
    }
}
