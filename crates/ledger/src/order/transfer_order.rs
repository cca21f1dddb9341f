//! Transfers whose SKUs live in several shards. A transfer rides on an order, so that all its units leave or
//! none.
//!
//! A transfer has three steps. Each can be repeated, and their ids follow from that of the TransferOut. A
//! [`Coordinator`] *reserves* the lines over the shards. The home *commits* the order. Each shard
//! *dispatches* its units.
//!
//! If a process dies in between, units stay held (and their hold ends by itself) or stay committed. The same
//! TransferOut, sent again, goes on from there. A Cancel of the reservation gives back units that were
//! committed and cannot be dispatched.

use crate::{
    Action, Command, Details, Refusal, ReserveLine, ReserveMode, ShardNumber, Sku, Source, Sourcing,
    StorefrontId,
};

use super::Coordinator;

/// The storefront of the reservations that transfers ride on. It has no pools and no stock policies, so it
/// takes free units.
pub const TRANSFER_STOREFRONT: &str = "holdfast:transfer";

/// The time to live of a transfer's hold, in milliseconds: its units must be committed within it.
const TTL_MS: u64 = 600_000;

/// The commands of a TransferOut over several shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOrder {
    request: Command,
    reserve: Command,
    /// Commits the reservation. It goes to the home.
    pub commit: Command,
    /// Sends the units on their way. It goes to each shard of the order, as its part ([`Action::OfPart`]).
    pub dispatch: Command,
}

impl TransferOrder {
    /// Plans the steps of a TransferOut.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] when the TransferOut is malformed.
    pub fn new(request: Command) -> Result<Self, Refusal> {
        let invalid = |what: &str| Refusal::InvalidRequest(what.to_owned());
        let Action::TransferOut {
            lines,
            from,
            to,
            expected_at_ms,
        } = &request.action
        else {
            return Err(invalid("only a TransferOut makes a transfer"));
        };
        if from == to {
            return Err(invalid("to is the warehouse that the transfer leaves"));
        }
        let id = request.operation_id;
        let step = |operation_id, action| Command {
            operation_id,
            details: Details {
                as_of_seq: None,
                ..request.details
            },
            action,
            ..request.clone()
        };
        let storefront =
            StorefrontId::new(TRANSFER_STOREFRONT).map_err(|error| invalid(&error.to_string()))?;
        let lines = lines.iter().map(|line| ReserveLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            source: Source::Warehouse(from.clone()),
        });
        let reserve = Action::Reserve {
            storefront,
            lines: lines.collect(),
            ttl_ms: TTL_MS,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        };
        let dispatch = Action::Dispatch {
            reservation_id: id,
            to: to.clone(),
            expected_at_ms: *expected_at_ms,
        };
        Ok(Self {
            reserve: step(id, reserve),
            commit: step(id.derived("commit"), Action::Commit { reservation_id: id }),
            dispatch: step(id.derived("dispatch"), dispatch),
            request,
        })
    }

    /// Builds the coordinator that holds all units or none. `shard_of` returns the shard of a SKU. Returns
    /// None when all SKUs live in one shard, so the TransferOut itself can be sent there.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] when the lines are malformed.
    pub fn coordinator(
        &self,
        shard_of: impl Fn(&Sku) -> ShardNumber,
    ) -> Result<Option<Coordinator>, Refusal> {
        let coordinator = Coordinator::new(self.reserve.clone(), None, shard_of)?;
        if coordinator.is_some() && self.request.details.as_of_seq.is_some() {
            return Err(Refusal::InvalidRequest(
                "a TransferOut whose SKUs live in several shards cannot have as_of: send one TransferOut for each SKU".to_owned(),
            ));
        }
        // A retry with another destination counts as another request, so the fingerprint is that of the
        // TransferOut.
        Ok(coordinator.map(|coordinator| coordinator.with_fingerprint(self.request.fingerprint())))
    }
}
