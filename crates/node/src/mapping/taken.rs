//! A checked request: its command for the ledger, and the facts that the router needs in addition.

use holdfast_api::v1;
use holdfast_ledger::{Action, Command, Details};
use holdfast_orders::AsOf;

use crate::validation::{self, CheckedOperation};

/// A checked request: the command, the shards that the caller named, and the positions of late goods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// The command for the ledger.
    pub command: Command,
    /// The shard that has the reservation or transfer, as the caller believes. Set only for a request about
    /// an existing one.
    pub shard_hint: Option<u32>,
    /// Whether an earlier attempt of the caller has no answer.
    pub repeats: bool,
    /// The change of each shard right after which the operation's goods moved.
    pub as_of: AsOf,
    /// The shard that has the hold that a Reserve replaces, as the caller believes.
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

    /// Sets the as-of position for the shard that the command is sent to.
    ///
    /// # Errors
    /// The operation's goods are booked late, but it names no change of that shard.
    pub(crate) fn positioned(mut self, shard: u32) -> Result<Self, v1::Refusal> {
        let as_of_seq = self.as_of.of_only(shard).map_err(super::outbound::refusal)?;
        self.command.details.as_of_seq = as_of_seq;
        Ok(self)
    }

    pub(super) fn in_shard(self, shard_hint: Option<u32>) -> Self {
        Self { shard_hint, ..self }
    }
}
