//! Requests of clients to nodes, in place of the gRPC services.

use std::time::Duration;

use bytes::Bytes;
use holdfast_ledger::{Command, Coordinator, Outcome, Query};
use holdfast_orders::{OrderError, Orders};
use holdfast_shard::{Answer, Freshness, QueryError, ShardHandle, SubmitError};
use tokio::time::Instant;

use crate::names::shard_of;

/// A request: its time limit in milliseconds and what the client wants.
type Request = (u64, Wanted);

/// The wish of a client.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum Wanted {
    /// Commands that are to be decided.
    Submit(Vec<Command>),
    /// A Reserve over several shards that is to be decided.
    Order(Box<Command>),
    /// A question, to be answered linearizably or from whatever the replica knows.
    Query {
        /// The question itself.
        query: Query,
        /// Whether it must see everything acknowledged before.
        linearizable: bool,
    },
}

/// The answer to a client.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Got {
    /// The result of each command.
    Submitted(Vec<Result<Outcome, SubmitError>>),
    /// The order's outcome; none when this node does not know it.
    Ordered(Option<Outcome>),
    /// The answer to a question.
    Answered(Result<Answer, QueryError>),
}

/// Encodes a request for the network.
pub fn encode(timeout_ms: u64, wanted: Wanted) -> Bytes {
    let request: Request = (timeout_ms, wanted);
    postcard::to_stdvec(&request).unwrap_or_default().into()
}

/// Carries out a request. An answer that cannot be encoded becomes an empty one.
pub async fn serve(shard: &ShardHandle, orders: Option<&Orders>, payload: &[u8]) -> Bytes {
    let Ok((timeout_ms, wanted)) = postcard::from_bytes::<Request>(payload) else {
        return Bytes::new();
    };
    let deadline = Instant::now() + Duration::from_millis(timeout_ms);
    let got = match wanted {
        Wanted::Submit(commands) => Got::Submitted(shard.submit(commands, deadline).await),
        Wanted::Order(command) => Got::Ordered(match orders {
            Some(orders) => order(orders, *command, deadline).await,
            None => None,
        }),
        Wanted::Query { query, linearizable } => {
            let freshness = match linearizable {
                true => Freshness::Linearizable,
                false => Freshness::Stale,
            };
            Got::Answered(shard.query(query, freshness, deadline).await)
        }
    };
    postcard::to_stdvec(&got).unwrap_or_default().into()
}

async fn order(orders: &Orders, command: Command, deadline: Instant) -> Option<Outcome> {
    let coordinator = match Coordinator::new(command, None, shard_of) {
        Ok(coordinator) => coordinator?,
        Err(refusal) => return Some(Err(refusal)),
    };
    match orders.reserve(coordinator, deadline).await {
        Ok(success) => Some(Ok(success)),
        Err(OrderError::Refused(refusal)) => Some(Err(refusal)),
        Err(_) => None,
    }
}
