//! A transfer whose SKUs live in several shards rides on an order, so that all its units leave or none.
//!
//! Three steps, each of which can be repeated, with ids that follow from that of the TransferOut: its lines are *reserved*
//! over the shards by a [`Coordinator`], the order is *committed* at its home, and each shard *dispatches* what it has.
//! Whoever dies in between leaves units held (their hold ends by itself) or committed; the same TransferOut again goes on,
//! and a Cancel of the reservation gives back what was committed and cannot be dispatched.

use crate::{
    Action, Command, Details, Refusal, ReserveLine, ReserveMode, ShardNumber, Sku, Source, Sourcing,
    StorefrontId,
};

use super::Coordinator;

/// The storefront of the reservations that transfers ride on. It has no pools and no policies, so it takes what is free.
pub const TRANSFER_STOREFRONT: &str = "holdfast:transfer";

/// How long a transfer's units wait to be committed.
const TTL_MS: u64 = 600_000;

/// The commands of a TransferOut over several shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOrder {
    request: Command,
    reserve: Command,
    /// Commits the reservation; for its home.
    pub commit: Command,
    /// Sends its units on their way; for each shard of it, as its part ([`Action::OfPart`]).
    pub dispatch: Command,
}

impl TransferOrder {
    /// Plans what a TransferOut asks for.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] when it is malformed.
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

    /// What has all units held, or none. `shard_of` says where a SKU lives. None: all of them live in one shard, so that the
    /// TransferOut itself can be sent there.
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
                "as_of is not taken for a TransferOut whose SKUs live in several shards: send one for each SKU".to_owned(),
            ));
        }
        // A retry with another destination is another request too.
        Ok(coordinator.map(|coordinator| coordinator.with_fingerprint(self.request.fingerprint())))
    }
}
