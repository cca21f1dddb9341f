//! A request that was checked and taken: a command of the ledger, and what the router needs beside it.

use holdfast_api::v1;
use holdfast_ledger::{Action, Command, Details};
use holdfast_orders::AsOf;

use crate::validation::{self, CheckedOperation};

/// A command, and the shard of its reservation if the caller named one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What the ledger shall decide.
    pub command: Command,
    /// Which shard the caller thinks has the reservation. Only for what concerns an existing reservation.
    pub shard_hint: Option<u32>,
    /// An earlier attempt of the caller has no answer.
    pub repeats: bool,
    /// After which change of each shard its goods moved.
    pub as_of: AsOf,
    /// Which shard the caller thinks has the hold that a Reserve replaces.
    pub replaced_shard_hint: Option<u32>,
}

impl Taken {
    pub(super) fn new(operation: CheckedOperation, action: Action) -> Self {
        let CheckedOperation {
            operation_id,
            reference,
            reason,
            repeats,
            occurred_at_ms,
            as_of,
        } = operation;
        let details = Details {
            occurred_at_ms,
            ..Details::default()
        };
        let principal = validation::anonymous();
        Self {
            command: Command {
                operation_id,
                principal,
                reference,
                reason,
                details,
                action,
            },
            shard_hint: None,
            repeats,
            as_of,
            replaced_shard_hint: None,
        }
    }

    /// The same for the shard that it is sent to.
    ///
    /// # Errors
    /// It is booked late, and names no change of that shard.
    pub(crate) fn positioned(mut self, shard: u32) -> Result<Self, v1::Refusal> {
        let as_of_seq = self.as_of.of_only(shard).map_err(super::outbound::refusal)?;
        self.command.details.as_of_seq = as_of_seq;
        Ok(self)
    }

    pub(super) fn in_shard(self, shard_hint: Option<u32>) -> Self {
        Self { shard_hint, ..self }
    }
}
