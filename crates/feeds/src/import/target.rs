//! The receiver of the operations: the cluster, or in tests a ledger in memory.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use holdfast_client::v1::batch_item::Request as Item;
use holdfast_client::{BatchAnswer, BatchOptions, BatchStream, Client, ClientError, v1};
use tokio::time::Instant;

use super::error::RunError;
use super::steps::Sale;

/// Time between two looks at a part that is given back within milliseconds.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// One mutation of an import.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    /// A correction of stock.
    Adjust(v1::AdjustRequest),
    /// A request that a batch can carry: goods that arrive, and everything about a reservation.
    Batched(Item),
}

impl Request {
    /// Returns the operation, which every request has.
    pub(super) fn operation(&self) -> Option<&v1::Operation> {
        match self {
            Self::Adjust(request) => request.operation.as_ref(),
            Self::Batched(Item::Reserve(request)) => request.operation.as_ref(),
            Self::Batched(Item::Extend(request)) => request.operation.as_ref(),
            Self::Batched(Item::Commit(request)) => request.operation.as_ref(),
            Self::Batched(Item::Release(request)) => request.operation.as_ref(),
            Self::Batched(Item::Ship(request)) => request.operation.as_ref(),
            Self::Batched(Item::Cancel(request)) => request.operation.as_ref(),
            Self::Batched(Item::ReturnGoods(request)) => request.operation.as_ref(),
            Self::Batched(Item::Receive(request)) => request.operation.as_ref(),
        }
    }

    /// Returns the operation's id.
    pub(super) fn operation_id(&self) -> Bytes {
        self.operation()
            .map(|operation| operation.operation_id.clone())
            .unwrap_or_default()
    }
}

/// The answer to a mutation.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// Whether it had been applied before.
    pub(super) replayed: bool,
    /// The line and the units of each grant, for a Reserve.
    pub(super) granted: Vec<(u32, i64)>,
}

/// A receiver that decides mutations.
pub(super) trait Target {
    /// Sends the mutations of one wave, in this order, and waits for all answers.
    fn submit(&self, requests: Vec<Request>) -> impl Future<Output = Vec<Result<Answer, ClientError>>>;

    /// Waits until no shard of a refused sale holds units for it any more.
    ///
    /// # Errors
    /// When a shard still holds units after the client's deadline, or does not answer.
    fn await_given_back(
        &self,
        reservation_id: Bytes,
        sale: &Sale,
    ) -> impl Future<Output = Result<(), RunError>>;
}

/// A running cluster.
pub(super) struct Cluster {
    client: Client,
    batch: BatchStream,
}

impl Cluster {
    /// Makes a target that sends through this client.
    pub(super) fn new(client: Client) -> Self {
        let batch = client.batch(BatchOptions::default());
        Self { client, batch }
    }

    async fn has_part(&self, reservation_id: Bytes, shard: u32) -> Result<bool, ClientError> {
        let request = v1::GetReservationRequest {
            reservation: Some(v1::ReservationKey {
                reservation_id,
                shard: Some(shard),
            }),
            consistency: v1::Consistency::Linearizable.into(),
        };
        match self.client.get_reservation(request).await {
            Ok(_) => Ok(true),
            Err(ClientError::Refused(refusal)) if refusal.reason() == v1::Reason::UnknownReservation => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    async fn submit_one(&self, request: Request) -> Result<Answer, ClientError> {
        let (receipt, lines) = match request {
            Request::Adjust(request) => (self.client.adjust(request).await?.receipt, Vec::new()),
            Request::Batched(request) => match self.batch.submit(request).await? {
                BatchAnswer::Reserved(answer) => (answer.receipt, answer.lines),
                BatchAnswer::Transitioned(answer) => (answer.receipt, Vec::new()),
                BatchAnswer::Stocked(answer) => (answer.receipt, Vec::new()),
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
        join_all(requests.into_iter().map(|request| self.submit_one(request))).await
    }

    async fn await_given_back(&self, reservation_id: Bytes, sale: &Sale) -> Result<(), RunError> {
        let until = Instant::now() + self.client.options().deadline;
        for shard in sale.shards.iter().filter(|_| sale.shards.len() > 1) {
            while self.has_part(reservation_id.clone(), *shard).await? {
                if Instant::now() >= until {
                    return Err(RunError::StillHeld {
                        document: sale.document.clone(),
                        shard: *shard,
                    });
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }
}
