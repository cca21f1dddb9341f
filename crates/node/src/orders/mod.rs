//! Orders over several shards: sending what the ledger's state machines say.
//!
//! What is decided is in the ledger (`holdfast_ledger`'s `order.rs` tells the protocol); here is only the I/O: `reserve` drives a
//! coordinator until the order is decided, `fulfil` has every shard of an order do its part of a Ship, Cancel or Return, and
//! `resolve` is the task that tells participants what their order's home has decided, and asks homes on behalf of participants.
//! Every step can be repeated, so nothing here is remembered across a crash.

mod fulfil;
mod reserve;
mod resolve;
mod view;

use std::sync::Arc;

use holdfast_ledger::{
    Command, OperationId, OrderStep, Principal, Query, QueryReply, Reason, Reference, Refusal, ReservationId,
    ReservationView, Sku, Success, slot_of,
};
use holdfast_shard::{Freshness, QueryError, ShardHandle, SubmitError};
use tokio::time::Instant;

use crate::router::shard_of_slot;

/// Why an order was not moved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It had no effect.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// A shard did not decide.
    #[error("shard {shard}: {error}")]
    Submit {
        /// Which.
        shard: u32,
        /// Why.
        error: SubmitError,
    },
    /// A shard did not answer.
    #[error("shard {shard}: {error}")]
    Query {
        /// Which.
        shard: u32,
        /// Why.
        error: QueryError,
    },
    /// Some shards have done their part, another one refused its own. The same request again goes on with the rest.
    #[error("shards {done:?} have done their part, shard {shard} has not: {refusal}")]
    Partly {
        /// Who has.
        done: Vec<u32>,
        /// Who has not.
        shard: u32,
        /// Why.
        refusal: Refusal,
    },
    /// A shard answered something else than it was asked: a defect.
    #[error("shard {shard} gave another answer than was asked for")]
    WrongAnswer {
        /// Which.
        shard: u32,
    },
}

/// What moves orders over several shards. Cheap to clone.
#[derive(Clone)]
pub struct Orders {
    shards: Arc<[ShardHandle]>,
}

impl Orders {
    /// Over all shards, in order of their numbers.
    pub fn new(shards: Arc<[ShardHandle]>) -> Self {
        Self { shards }
    }

    /// The shard of a SKU.
    pub fn shard_of(&self, sku: &Sku) -> u32 {
        shard_of_slot(slot_of(sku), self.shards.len() as u32)
    }

    fn handle(&self, shard: u32) -> Result<&ShardHandle, OrderError> {
        self.shards
            .get(shard as usize)
            .ok_or(OrderError::WrongAnswer { shard })
    }

    /// Has one command decided.
    async fn submit(&self, shard: u32, command: Command, deadline: Instant) -> Result<Success, OrderError> {
        let mut results = self.handle(shard)?.submit(vec![command], deadline).await;
        match results.pop() {
            Some(Ok(outcome)) => Ok(outcome?),
            Some(Err(error)) => Err(OrderError::Submit { shard, error }),
            None => Err(OrderError::WrongAnswer { shard }),
        }
    }

    /// What a shard has of a reservation, confirmed by its quorum.
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

    /// Moves on with what a shard refused because the order is over several shards. Returns the shard that answers.
    ///
    /// # Errors
    /// See [`OrderError`]. Any other refusal is given back.
    pub async fn follow(
        &self,
        command: Command,
        refusal: Refusal,
        deadline: Instant,
    ) -> Result<(u32, Success), OrderError> {
        match refusal {
            Refusal::DecidedAtHome { home } => {
                let success = self.submit(home, command, deadline).await?;
                Ok((home, success))
            }
            Refusal::OverSeveralShards { home } => self.fulfil(command, home, deadline).await,
            other => Err(OrderError::Refused(other)),
        }
    }
}

/// A step that no caller asked for.
fn own_step(about: OperationId, step: OrderStep) -> Result<Command, OrderError> {
    let principal = Principal::new("holdfast").map_err(|error| Refusal::InvalidRequest(error.to_string()))?;
    Ok(Command {
        operation_id: about,
        principal,
        reference: Reference::default(),
        reason: Reason::default(),
        action: holdfast_ledger::Action::Order(step),
    })
}
