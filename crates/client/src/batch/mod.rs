//! Many mutations in few messages: the way to reach high rates.
//!
//! Each shard has a lane, and each lane has its own stream to the shard's leader. Items whose shard is not
//! known use one more lane, to any node. A lane collects items while a message is on its way, and pairs
//! results with items by tag. After a broken stream it sends every unanswered item again, with the item's own
//! operation id.

mod lane;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::v1::batch_item::Request;
use holdfast_api::v1::{Receipt, ReserveResponse, StockResponse, TransitionResponse};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use crate::ClientError;
use crate::client::Client;
use crate::routes::Route;

use lane::{Lane, Submitted};

pub use holdfast_api::limits::MAX_BATCH_ITEMS;

/// How items are put into messages.
#[derive(Debug, Clone)]
pub struct BatchOptions {
    /// The most items of one message, 1 to [`MAX_BATCH_ITEMS`].
    pub max_items: usize,
    /// How long the first item of a message waits for more items. With zero, each message is sent at once.
    pub linger: Duration,
    /// The most items without an answer. [`BatchStream::submit`] waits when there are as many.
    pub max_in_flight: usize,
}

impl Default for BatchOptions {
    fn default() -> Self {
        Self {
            max_items: 256,
            linger: Duration::from_millis(1),
            max_in_flight: 8192,
        }
    }
}

/// The answer to an item.
#[derive(Debug, Clone, PartialEq)]
pub enum BatchAnswer {
    /// A granted reservation.
    Reserved(ReserveResponse),
    /// A transition.
    Transitioned(TransitionResponse),
    /// Goods that arrived.
    Stocked(StockResponse),
}

impl BatchAnswer {
    /// Returns the receipt: where the item was decided, and whether it was decided before.
    pub fn receipt(&self) -> Option<&Receipt> {
        match self {
            Self::Reserved(answer) => answer.receipt.as_ref(),
            Self::Transitioned(answer) => answer.receipt.as_ref(),
            Self::Stocked(answer) => answer.receipt.as_ref(),
        }
    }
}

/// A batching stream. Cheap to clone. It ends when all clones are gone and every item is answered.
#[derive(Debug, Clone)]
pub struct BatchStream {
    client: Client,
    options: Arc<BatchOptions>,
    in_flight: Arc<Semaphore>,
    lanes: Arc<Mutex<BTreeMap<Option<u32>, mpsc::UnboundedSender<Submitted>>>>,
}

impl Client {
    /// Makes a batching stream. It connects when it is first used. Each item has the client's deadline.
    pub fn batch(&self, options: BatchOptions) -> BatchStream {
        let options = BatchOptions {
            max_items: options.max_items.clamp(1, MAX_BATCH_ITEMS),
            max_in_flight: options.max_in_flight.clamp(1, Semaphore::MAX_PERMITS),
            ..options
        };
        BatchStream {
            client: self.clone(),
            in_flight: Arc::new(Semaphore::new(options.max_in_flight)),
            options: Arc::new(options),
            lanes: Arc::default(),
        }
    }
}

impl BatchStream {
    /// Sends one item and waits for its answer. It waits first while too many items are unanswered. When the
    /// future is dropped, the item is still sent, and its answer is lost.
    ///
    /// # Errors
    /// The same as for a single call: [`ClientError::Refused`], [`ClientError::Unavailable`] and
    /// [`ClientError::Unknown`].
    pub async fn submit(&self, request: Request) -> Result<BatchAnswer, ClientError> {
        let deadline = Instant::now() + self.client.options().deadline;
        let permit = tokio::time::timeout_at(deadline, Arc::clone(&self.in_flight).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            return Err(ClientError::Unavailable {
                message:
                    "too many items wait for their answers: wait for some answers before you submit more"
                        .to_owned(),
            });
        };
        if self.client.routes().topology().is_none() {
            self.client.ask_topology_if_needed(deadline).await;
        }
        let shard = self.client.routes().shard(Route::of_item(Some(&request)));
        let (answer, answered) = oneshot::channel();
        self.send_to_lane(
            shard,
            Submitted {
                request,
                deadline,
                answer,
                _permit: permit,
            },
        );
        answered.await.unwrap_or_else(|_| {
            Err(ClientError::Unknown {
                message: "the batch stream has ended: open another one".to_owned(),
            })
        })
    }

    fn send_to_lane(&self, shard: Option<u32>, submitted: Submitted) {
        let mut lanes = self.lanes.lock();
        let lane = lanes.entry(shard).or_insert_with(|| self.start_lane(shard));
        if let Err(mpsc::error::SendError(submitted)) = lane.send(submitted) {
            // The lane's task ended with its runtime. This caller may still reach a new lane.
            let lane = self.start_lane(shard);
            let _ = lane.send(submitted);
            lanes.insert(shard, lane);
        }
    }

    fn start_lane(&self, shard: Option<u32>) -> mpsc::UnboundedSender<Submitted> {
        // The channel is unbounded because the semaphore limits it.
        let (sender, receiver) = mpsc::unbounded_channel();
        let lane = Lane::new(self.client.clone(), Arc::clone(&self.options), shard, receiver);
        tokio::spawn(lane.run());
        sender
    }
}
