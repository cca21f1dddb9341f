//! Orders over several shards: the I/O around the ledger's order protocol.
//!
//! The ledger's state machines make every decision. `holdfast_ledger`'s `order.rs` describes the protocol,
//! and `docs/orders.md` lists which failures it survives at which step. This crate sends the steps and
//! collects the answers. Every step can be repeated, so this crate has nothing to remember across a crash.
//!
//! ```text
//!              reserve ── Begin, Prepare, Decide ──> home and participants
//! Orders ──────fulfil ─── Ship, Cancel, Return ────> every shard with a part of the order
//!              transfer ─ reserve, then Dispatch ──> the same for goods that move between warehouses
//! resolve ─────────────── Settle, Inquire ─────────> participants that have not heard of a decision
//! ```
//!
//! - `reserve.rs` drives a [`Coordinator`](holdfast_ledger::Coordinator) until the order is decided or its
//!   time is over.
//! - `fulfil.rs` makes each shard of a committed order do its own part of a Ship, Cancel, Return or Dispatch.
//! - `transfer.rs` makes transfers leave and arrive by the same means.
//! - `resolve.rs` is a task for each shard. As a home it tells participants what was decided; as a
//!   participant it asks homes that have not told it. `resolve/schedule.rs` makes the pauses longer while
//!   another shard does not answer.
//! - `view.rs` joins the parts of an order for a reader.
//! - `as_of.rs` has the positions of goods that are booked late, one for each shard.
//!
//! Start reading in `reserve.rs`, then `resolve.rs`. The simulation in `tests/simulation` runs this crate
//! under faults.

mod as_of;
mod fulfil;
mod reserve;
mod resolve;
mod transfer;
mod view;

use std::sync::Arc;

use holdfast_api::slots::{shard_of_slot, slot_of};
use holdfast_ledger::{
    About, Action, CallerReason, Command, Details, DoneBy, OperationId, OrderStep, Principal, Query,
    QueryReply, Reference, Refusal, ReservationId, ReservationView, Sender, Sku, Success,
};
use holdfast_shard::{Freshness, QueryError, ShardHandle, SubmitError};
use tokio::time::Instant;

pub use as_of::AsOf;

/// The reason why an order was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// The request was refused and had no effect.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// A shard did not decide.
    #[error("shard {shard}: {error}")]
    Submit {
        /// The shard.
        shard: u32,
        /// The error of the shard.
        error: SubmitError,
    },
    /// A shard did not answer.
    #[error("shard {shard}: {error}")]
    Query {
        /// The shard.
        shard: u32,
        /// The error of the shard.
        error: QueryError,
    },
    /// Some shards have done their part, and another one has refused its own. The same request again goes on
    /// with the rest.
    #[error("shards {done:?} have done their part, shard {shard} has not: {refusal}")]
    Partly {
        /// The shards that have done their part.
        done: Vec<u32>,
        /// The shard that refused.
        shard: u32,
        /// The reason of that shard.
        refusal: Refusal,
    },
    /// The units of a transfer are committed, and none has left. The same request again goes on. A Cancel of
    /// the reservation with the transfer's id gives the units back.
    #[error("the units are committed to the transfer, but no shard can send its units: {refusal}")]
    Undispatched {
        /// The reason why they did not leave.
        refusal: Refusal,
    },
    /// Several shards have something under one id, and it is not one order or transfer.
    #[error("shards {shards:?} have different things under the id {id}")]
    Ambiguous {
        /// The id.
        id: OperationId,
        /// The shards that have something.
        shards: Vec<u32>,
    },
    /// A shard's answer does not match the request. This is a defect.
    #[error("shard {shard} sent an answer to another question")]
    WrongAnswer {
        /// The shard.
        shard: u32,
    },
}

/// The driver of orders over several shards. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    shards: Arc<[ShardHandle]>,
}

impl Orders {
    /// Takes the handles of all shards, in order of their numbers.
    pub fn new(shards: Arc<[ShardHandle]>) -> Self {
        Self { shards }
    }

    /// Returns the shard of a SKU.
    pub fn shard_of(&self, sku: &Sku) -> u32 {
        shard_of_slot(slot_of(sku.as_str()), self.shards.len() as u32)
    }

    fn handle(&self, shard: u32) -> Result<&ShardHandle, OrderError> {
        self.shards
            .get(shard as usize)
            .ok_or(OrderError::WrongAnswer { shard })
    }

    /// Submits one command to a shard and waits until it is decided.
    async fn submit(&self, shard: u32, command: Command, deadline: Instant) -> Result<Success, OrderError> {
        let mut results = self.handle(shard)?.submit(vec![command], deadline).await;
        match results.pop() {
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(error)) => Err(OrderError::Submit { shard, error }),
            None => Err(OrderError::WrongAnswer { shard }),
        }
    }

    /// Reads a shard's part of a reservation, as fresh as asked.
    async fn part(
        &self,
        shard: u32,
        reservation_id: ReservationId,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<ReservationView>, OrderError> {
        let query = Query::Reservation { reservation_id };
        let answer = self.handle(shard)?.query(query, freshness, deadline).await;
        match answer.map(|answer| answer.reply) {
            Ok(QueryReply::Reservation(view)) => Ok(view),
            Ok(_) => Err(OrderError::WrongAnswer { shard }),
            Err(error) => Err(OrderError::Query { shard, error }),
        }
    }

    /// Continues after `shard` refused a command because the order or transfer is, or may be, over several
    /// shards. A shard that does not know a reservation may be the home that has forgotten it, while units
    /// are still on their way elsewhere. Returns the shard that answers.
    ///
    /// # Errors
    /// See [`OrderError`]. Any other refusal is returned as it is.
    pub async fn follow(
        &self,
        shard: u32,
        (command, as_of): (Command, &AsOf),
        refusal: Refusal,
        deadline: Instant,
    ) -> Result<(u32, Success), OrderError> {
        match refusal {
            Refusal::UnknownReservation if follows_commit(&command.action) => {
                self.fulfil(command, as_of, shard, deadline).await
            }
            Refusal::DecidedAtHome { home } => {
                let success = self.submit(home, command, deadline).await?;
                Ok((home, success))
            }
            Refusal::UnknownTransfer => self.arrive(command, as_of, deadline).await,
            Refusal::OverSeveralShards { home } => match command.action {
                Action::TransferIn { .. } | Action::CloseTransfer { .. } => {
                    self.arrive(command, as_of, deadline).await
                }
                _ => self.fulfil(command, as_of, home, deadline).await,
            },
            other => Err(OrderError::Refused(other)),
        }
    }
}

/// Returns whether an action is done by each shard of an order after its commit.
fn follows_commit(action: &Action) -> bool {
    let concerns = action.concerns();
    matches!(concerns.about, About::Reservation(..))
        && concerns.done_by == DoneBy::EachShard
        && concerns.sender == Sender::Caller
}

/// Selects the answer that stands for the work of several shards: the home's if it has done its part, else
/// that of the first shard. Copies of one request therefore get the same answer, whichever came first in
/// which shard, and one log decides which copy was first.
fn receipt(home: u32, mut done: Vec<(u32, Success)>) -> Option<(u32, Success)> {
    done.sort_by_key(|(shard, _)| (*shard != home, *shard));
    done.into_iter().next()
}

/// Returns the error for shards that did not answer. The outcome is unknown when one of them may have done
/// its part, or when another shard has.
fn unanswered(errors: Vec<OrderError>, some_done: bool) -> Option<OrderError> {
    let may_be_done = |error: &OrderError| match error {
        OrderError::Submit { error, .. } => {
            matches!(error, SubmitError::OutcomeUnknown | SubmitError::Unsettled(_))
        }
        OrderError::Partly { .. } | OrderError::Undispatched { .. } | OrderError::WrongAnswer { .. } => true,
        OrderError::Refused(_) | OrderError::Query { .. } | OrderError::Ambiguous { .. } => false,
    };
    let is_unknown = some_done || errors.iter().any(may_be_done);
    let first = errors.into_iter().next()?;
    Some(match first {
        OrderError::Submit { shard, .. } | OrderError::Query { shard, .. } if is_unknown => {
            OrderError::Submit {
                shard,
                error: SubmitError::OutcomeUnknown,
            }
        }
        first => first,
    })
}

/// Makes the command of a step that no caller asked for.
fn own_step(about: OperationId, step: OrderStep) -> Result<Command, OrderError> {
    let principal = Principal::new("holdfast").map_err(|error| Refusal::InvalidRequest(error.to_string()))?;
    Ok(Command {
        operation_id: about,
        principal,
        reference: Reference::default(),
        reason: CallerReason::default(),
        details: Details::default(),
        action: Action::Order(step),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_leader(shard: u32) -> OrderError {
        let error = SubmitError::NoLeader;
        OrderError::Submit { shard, error }
    }

    fn unknown(shard: u32) -> OrderError {
        let error = SubmitError::OutcomeUnknown;
        OrderError::Submit { shard, error }
    }

    #[test]
    fn a_part_that_is_done_makes_an_unanswered_one_unknown() {
        assert_eq!(unanswered(vec![no_leader(1)], true), Some(unknown(1)));
        assert_eq!(unanswered(vec![no_leader(1)], false), Some(no_leader(1)));
        // Shard 2 may have done its part.
        assert_eq!(
            unanswered(vec![no_leader(1), unknown(2)], false),
            Some(unknown(1))
        );
        assert_eq!(unanswered(Vec::new(), true), None);
    }
}
