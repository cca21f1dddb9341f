//! The cause of a change.

use crate::{CallerReason, OperationId, Principal, Reference};

/// The cause of a change. Its bytes are in `wire.rs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The operation. None for expiry.
    pub operation_id: Option<OperationId>,
    /// The caller's identity. None for expiry.
    pub principal: Option<Principal>,
    /// The caller's reason.
    pub reason: CallerReason,
    /// The caller's document. For expiry, that of the Reserve.
    pub reference: Reference,
    /// Business time as the command said it. None: only the log time is known.
    pub occurred_at_ms: Option<u64>,
}
