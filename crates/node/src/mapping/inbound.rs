//! From what a client sent to commands of the ledger.

use holdfast_ledger::{Action, Command};
use holdfast_proto::v1;
use v1::batch_item::Request;

use crate::validation::{self, CheckedOperation, Invalid};

pub use super::reserve::*;
pub use super::stock::*;
pub use super::transfers::*;

/// A command, and the shard of its reservation if the caller named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What the ledger shall decide.
    pub command: Command,
    /// Which shard the caller thinks has the reservation. Only for what concerns an existing reservation.
    pub shard_hint: Option<u32>,
    /// An earlier attempt of the caller has no answer.
    pub repeats: bool,
}

impl Taken {
    pub(super) fn new(operation: CheckedOperation, action: Action) -> Self {
        let CheckedOperation {
            operation_id,
            reference,
            reason,
            repeats,
        } = operation;
        let principal = validation::anonymous();
        Self {
            command: Command {
                operation_id,
                principal,
                reference,
                reason,
                action,
            },
            shard_hint: None,
            repeats,
        }
    }

    pub(super) fn in_shard(self, shard_hint: Option<u32>) -> Self {
        Self { shard_hint, ..self }
    }
}

/// Checks and takes one item of a batch.
///
/// # Errors
/// [`Invalid`] names the field and the rule.
pub fn batch_item(request: Option<Request>) -> Result<Taken, Invalid> {
    match validation::required("request", request)? {
        Request::Reserve(request) => reserve(request),
        Request::Extend(request) => extend(request),
        Request::Commit(request) => commit(request),
        Request::Release(request) => release(request),
        Request::Ship(request) => ship(request),
        Request::Cancel(request) => cancel(request),
        Request::Return(request) => take_back(request),
        Request::Receive(request) => receive(request),
    }
}
