//! Where the operations go: the cluster, or in tests a ledger in memory.

use std::future::Future;

use bytes::Bytes;
use futures::future::join_all;
use holdfast_client::v1::batch_item::Request as Item;
use holdfast_client::{BatchAnswer, BatchOptions, BatchStream, Client, ClientError, v1};

/// One mutation of an import.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// Goods arrive.
    Receive(v1::ReceiveRequest),
    /// A correction.
    Adjust(v1::AdjustRequest),
    /// Any of a reservation's.
    Reservation(Item),
}

impl Request {
    /// The operation, which every request has.
    pub(super) fn operation(&self) -> Option<&v1::Operation> {
        match self {
            Self::Receive(request) => request.operation.as_ref(),
            Self::Adjust(request) => request.operation.as_ref(),
            Self::Reservation(Item::Reserve(request)) => request.operation.as_ref(),
            Self::Reservation(Item::Extend(request)) => request.operation.as_ref(),
            Self::Reservation(Item::Commit(request)) => request.operation.as_ref(),
            Self::Reservation(Item::Release(request)) => request.operation.as_ref(),
            Self::Reservation(Item::Ship(request)) => request.operation.as_ref(),
            Self::Reservation(Item::Cancel(request)) => request.operation.as_ref(),
            Self::Reservation(Item::Return(request)) => request.operation.as_ref(),
        }
    }

    /// The operation's id.
    pub(super) fn operation_id(&self) -> Bytes {
        self.operation()
            .map(|operation| operation.operation_id.clone())
            .unwrap_or_default()
    }
}

/// What a mutation was answered with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// It had been applied before.
    pub(super) replayed: bool,
    /// For a Reserve: the line and the units of each grant.
    pub(super) granted: Vec<(u32, i64)>,
}

/// Decides mutations.
pub(super) trait Target {
    /// Sends the mutations of one wave, all for one shard, in this order, and waits for all answers.
    fn submit(&self, requests: Vec<Request>) -> impl Future<Output = Vec<Result<Answer, ClientError>>>;
}

/// A cluster.
pub(super) struct Cluster {
    client: Client,
    batch: BatchStream,
}

impl Cluster {
    /// By way of this client.
    pub(super) fn new(client: Client) -> Self {
        let batch = client.batch(BatchOptions::default());
        Self { client, batch }
    }

    async fn submit_one(&self, request: Request) -> Result<Answer, ClientError> {
        let (receipt, lines) = match request {
            Request::Receive(request) => (self.client.receive(request).await?.receipt, Vec::new()),
            Request::Adjust(request) => (self.client.adjust(request).await?.receipt, Vec::new()),
            Request::Reservation(request) => match self.batch.submit(request).await? {
                BatchAnswer::Reserved(answer) => (answer.receipt, answer.lines),
                BatchAnswer::Transitioned(answer) => (answer.receipt, Vec::new()),
            },
        };
        Ok(Answer {
            replayed: receipt.is_some_and(|receipt| receipt.replayed),
            granted: lines.into_iter().map(|line| (line.line, line.granted)).collect(),
        })
    }
}

impl Target for Cluster {
    async fn submit(&self, requests: Vec<Request>) -> Vec<Result<Answer, ClientError>> {
        // Polled in order, so they enter the shard's stream in order.
        join_all(requests.into_iter().map(|request| self.submit_one(request))).await
    }
}
