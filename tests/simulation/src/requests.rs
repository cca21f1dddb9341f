//! What clients say to nodes, in place of the gRPC services.

use std::time::Duration;

use bytes::Bytes;
use holdfast_ledger::{Command, Coordinator, Outcome, Query};
use holdfast_orders::{OrderError, Orders};
use holdfast_shard::{Answer, Freshness, QueryError, ShardHandle, SubmitError};
use tokio::time::Instant;

use crate::workload::shard_of;

/// A request: its time limit in milliseconds and what to do.
type Request = (u64, Wanted);

/// What a client wants.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub enum Wanted {
    /// Commands decided.
    Submit(Vec<Command>),
    /// A Reserve over several shards decided.
    Order(Box<Command>),
    /// A question answered, linearizably or from whatever the replica knows.
    Query {
        /// The question.
        query: Query,
        /// Whether it must see everything acknowledged before.
        linearizable: bool,
    },
}

/// What it gets.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Got {
    /// One for each command.
    Submitted(Vec<Result<Outcome, SubmitError>>),
    /// The order's outcome; none when this node does not know it.
    Ordered(Option<Outcome>),
    /// The answer.
    Answered(Result<Answer, QueryError>),
}

/// As it travels.
pub fn encode(timeout_ms: u64, wanted: Wanted) -> Bytes {
    let request: Request = (timeout_ms, wanted);
    postcard::to_stdvec(&request).unwrap_or_default().into()
}

/// Does what a request says. An answer that cannot be written reads as none.
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
