//! The optional parts of a command.

mod check;

use serde::{Deserialize, Serialize};

use crate::ReservationId;

/// The optional parts of a command. They apply to more than one kind of action. If any is set, the command
/// needs [`Rules::Second`](crate::Rules::Second).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Business time: when the event happened outside, in milliseconds since the Unix epoch. At most 40 years
    /// before log time, and at most the operation lead after it. None: at log time.
    pub occurred_at_ms: Option<u64>,
    /// The change of this shard after which the goods moved. It is for a movement of `on_hand` that is booked
    /// late. A count as of this change or a later one has already seen the movement, and stays right. None:
    /// the goods move at log time.
    pub as_of_seq: Option<u64>,
    /// Refuses a Reserve while another hold or commit of the storefront has the same reference and this flag.
    pub unique_reference: bool,
    /// The hold that a Reserve replaces in one step. Units that both want go to the new hold, and the rest is
    /// released.
    pub replaces: Option<ReservationId>,
}

impl Details {
    /// The largest encoded size in bytes: two numbers and an id (each with a byte in front), a flag, and the
    /// tag of a command that has details.
    pub const MAX_BYTES: usize = 2 * (1 + 10) + (1 + 16) + 1 + 1;

    /// Returns whether no part is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
