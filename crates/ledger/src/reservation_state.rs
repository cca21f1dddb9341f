//! The states of a reservation.

use serde::{Deserialize, Serialize};

/// The states of a reservation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ReservationState {
    /// Part of an order over several shards that is not decided yet.
    Prepared,
    /// Stock is taken and not paid.
    Held,
    /// The reservation is paid. Some units may have shipped.
    Committed,
    /// Some units have shipped, and none are left to ship.
    Shipped,
    /// The units were given back.
    Released,
    /// The time of the hold ran out.
    Expired,
    /// The reservation was cancelled after it was paid. Nothing had shipped.
    Cancelled,
    /// Everything that shipped came back.
    Returned,
}
