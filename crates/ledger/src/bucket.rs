//! The buckets of a cell.

use serde::{Deserialize, Serialize};

/// The places of a cell where units can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Bucket {
    /// Units that a picker can count.
    OnHand,
    /// Units that any storefront can sell.
    Free,
    /// Units that are ring-fenced for the change's storefront.
    Pool,
    /// Units that are kept back and never sold.
    Safety,
    /// Units in live holds.
    Held,
    /// Units that are paid and not shipped.
    Committed,
    /// Units that are damaged and cannot be sold.
    Damaged,
    /// Units that wait for inspection.
    QualityHold,
    /// Units that are promised and missing.
    Deficit,
    /// Units that are promised beyond stock, as a stock policy allows.
    Backordered,
    /// Units on the way here from another warehouse. They are not part of what is on hand.
    InTransit,
}
