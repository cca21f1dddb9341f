//! One lane: one stream at a time to one node, and the items that wait for their answers.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::v1::batch_item::Request;
use holdfast_api::v1::batch_result::Result as Outcome;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_api::v1::{BatchItem, BatchRequest, BatchResponse, BatchResult, Operation};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{BatchAnswer, BatchOptions};
use crate::ClientError;
use crate::attempts::{Backoff, Untrusted, after, give_up};
use crate::client::{Client, MAX_ANSWER_BYTES};
use crate::error::{Attempt, Effect};
use crate::routes::Route;

/// The most messages handed to the transport ahead: enough to keep it busy, few enough that items gather
/// meanwhile.
const MESSAGES_AHEAD: usize = 2;
/// How often deadlines are checked.
const TICK: Duration = Duration::from_millis(20);

/// An item on its way into a lane.
pub(super) struct Submitted {
    pub(super) request: Request,
    pub(super) deadline: Instant,
    pub(super) answer: oneshot::Sender<Result<BatchAnswer, ClientError>>,
    /// The item's share of the in-flight limit. It is released when the item is answered.
    pub(super) _permit: OwnedSemaphorePermit,
}

struct Pending {
    submitted: Submitted,
    effect: Effect,
    place: ItemState,
    backoff: Backoff,
    trouble: String,
}

impl Pending {
    fn new(mut submitted: Submitted, backoff: Backoff) -> Self {
        let repeats = operation_of(&mut submitted.request).is_some_and(|operation| operation.repeats);
        Self {
            submitted,
            effect: if repeats { Effect::Unknown } else { Effect::None },
            place: ItemState::Ready,
            backoff,
            trouble: String::from("the item was not sent"),
        }
    }

    /// Notes an attempt without an answer: in what is known of the item, and in what is sent next.
    fn may_have_acted(&mut self) {
        self.effect = Effect::Unknown;
        if let Some(operation) = operation_of(&mut self.submitted.request) {
            operation.repeats = true;
        }
    }
}

fn operation_of(request: &mut Request) -> Option<&mut Operation> {
    match request {
        Request::Reserve(request) => request.operation.as_mut(),
        Request::Extend(request) => request.operation.as_mut(),
        Request::Commit(request) => request.operation.as_mut(),
        Request::Release(request) => request.operation.as_mut(),
        Request::Ship(request) => request.operation.as_mut(),
        Request::Cancel(request) => request.operation.as_mut(),
        Request::ReturnGoods(request) => request.operation.as_mut(),
        Request::Receive(request) => request.operation.as_mut(),
    }
}

/// The place of an unanswered item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemState {
    /// In the queue of items to send.
    Ready,
    /// At the server.
    Sent,
    /// In a pause until this time, after a refusal for the moment.
    Waiting(Instant),
}

/// The reason why a stream ended.
enum Left {
    Broken(Attempt),
    /// Nobody can submit any more, and every item is answered.
    Done,
}

pub(super) struct Lane {
    client: Client,
    options: Arc<BatchOptions>,
    shard: Option<u32>,
    incoming: mpsc::UnboundedReceiver<Submitted>,
    closed: bool,
    pending: BTreeMap<u64, Pending>,
    /// Tags of the items to send at once, in order.
    ready: VecDeque<u64>,
    next_tag: u64,
    /// The number of items in [`ItemState::Sent`].
    sent: usize,
}

impl Lane {
    pub(super) fn new(
        client: Client,
        options: Arc<BatchOptions>,
        shard: Option<u32>,
        incoming: mpsc::UnboundedReceiver<Submitted>,
    ) -> Self {
        Self {
            client,
            options,
            shard,
            incoming,
            closed: false,
            pending: BTreeMap::new(),
            ready: VecDeque::new(),
            next_tag: 1,
            sent: 0,
        }
    }

    /// Runs until nobody can submit any more and every item is answered.
    pub(super) async fn run(mut self) {
        let mut failed = None;
        let mut untrusted = Untrusted::default();
        let mut backoff = self.new_backoff();
        loop {
            if self.pending.is_empty() {
                match self.incoming.recv().await {
                    Some(submitted) => self.take(submitted),
                    None => return,
                }
            }
            let deadline = Instant::now() + self.client.options().connect_timeout;
            self.client.ask_topology_if_needed(deadline).await;
            let route = self.shard.map_or(Route::Any, Route::Shard);
            let address = self.client.choose(route, failed.as_deref());
            let attempt = match self.open(&address).await {
                Ok((requests, answers)) => {
                    backoff = self.new_backoff();
                    match self.serve(&address, requests, answers).await {
                        Left::Done => return,
                        Left::Broken(attempt) => attempt,
                    }
                }
                Err(attempt) => attempt,
            };
            self.unsend(&attempt);
            if let Some(error) = untrusted.note(|| self.client.known_nodes(), &address, &attempt) {
                self.give_up_all(&error);
            }
            self.client.routes().doubt();
            failed = Some(address);
            self.expire();
            tokio::time::sleep(backoff.next(Duration::ZERO)).await;
            self.expire();
        }
    }

    fn new_backoff(&self) -> Backoff {
        let options = self.client.options();
        Backoff::new(options.backoff_min, options.backoff_max)
    }

    async fn open(
        &self,
        address: &str,
    ) -> Result<(mpsc::Sender<BatchRequest>, Streaming<BatchResponse>), Attempt> {
        self.client.look_at_certificates();
        let channel = self.client.channels().to(address).map_err(Attempt::Final)?;
        let (requests, outgoing) = mpsc::channel(MESSAGES_AHEAD);
        let mut client = ReservationsClient::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES);
        let opened = tokio::time::timeout(
            self.client.options().attempt_timeout,
            client.batch(ReceiverStream::new(outgoing)),
        );
        match opened.await {
            Ok(Ok(response)) => Ok((requests, response.into_inner())),
            // Nothing was sent yet, so a stream that does not open has no effect.
            Ok(Err(status)) => Err(without_effect(Attempt::from_status(&status, address))),
            Err(_) => Err(without_effect(Attempt::timed_out(address))),
        }
    }

    async fn serve(
        &mut self,
        address: &str,
        requests: mpsc::Sender<BatchRequest>,
        mut answers: Streaming<BatchResponse>,
    ) -> Left {
        let mut tick = tokio::time::interval(TICK);
        let mut heard = Instant::now();
        let mut gather_until: Option<Instant> = None;
        loop {
            if self.closed && self.pending.is_empty() {
                return Left::Done;
            }
            if self.ready.is_empty() {
                gather_until = None;
            } else if gather_until.is_none() {
                gather_until = Some(Instant::now() + self.options.linger);
            }
            let full = self.ready.len() >= self.options.max_items;
            let gathering = gather_until
                .filter(|until| !full && !self.options.linger.is_zero() && Instant::now() < *until);
            tokio::select! {
                biased;
                answer = answers.message() => match answer {
                    Ok(Some(answer)) => {
                        heard = Instant::now();
                        for result in answer.results {
                            self.finish(result);
                        }
                    }
                    Ok(None) => return Left::Broken(Attempt::Retry {
                        effect: Effect::Unknown,
                        retry_after_ms: 0,
                        message: format!("{address} ended the stream"),
                    }),
                    Err(status) => return Left::Broken(Attempt::from_status(&status, address)),
                },
                submitted = self.incoming.recv(), if !self.closed && !full => match submitted {
                    Some(submitted) => {
                        self.take(submitted);
                        while self.ready.len() < self.options.max_items {
                            match self.incoming.try_recv() {
                                Ok(submitted) => self.take(submitted),
                                Err(_) => break,
                            }
                        }
                    }
                    None => self.closed = true,
                },
                slot = requests.reserve(), if !self.ready.is_empty() && gathering.is_none() => match slot {
                    Ok(slot) => {
                        if self.sent == 0 {
                            heard = Instant::now();
                        }
                        let message = self.next_message();
                        if !message.items.is_empty() {
                            slot.send(message);
                        }
                        gather_until = None;
                    }
                    Err(_) => return Left::Broken(Attempt::Retry {
                        effect: Effect::Unknown,
                        retry_after_ms: 0,
                        message: format!("{address} closed the stream"),
                    }),
                },
                () = tokio::time::sleep_until(gathering.unwrap_or(heard)), if gathering.is_some() => {}
                _ = tick.tick() => {
                    self.expire();
                    self.wake();
                    let silent = heard.elapsed() > self.client.options().attempt_timeout;
                    if silent && self.sent > 0 {
                        return Left::Broken(Attempt::timed_out(address));
                    }
                }
            }
        }
    }

    fn take(&mut self, submitted: Submitted) {
        let tag = self.next_tag;
        self.next_tag += 1;
        let backoff = self.new_backoff();
        self.pending.insert(tag, Pending::new(submitted, backoff));
        self.ready.push_back(tag);
    }

    fn next_message(&mut self) -> BatchRequest {
        let mut items = Vec::with_capacity(self.ready.len().min(self.options.max_items));
        while items.len() < self.options.max_items {
            let Some(tag) = self.ready.pop_front() else { break };
            // The item is missing when its deadline passed meanwhile.
            if let Some(pending) = self.pending.get_mut(&tag) {
                pending.place = ItemState::Sent;
                self.sent += 1;
                items.push(BatchItem {
                    tag,
                    request: Some(pending.submitted.request.clone()),
                });
            }
        }
        BatchRequest { items }
    }

    fn finish(&mut self, result: BatchResult) {
        let Some(pending) = self.pending.get_mut(&result.tag) else {
            return;
        };
        if pending.place == ItemState::Sent {
            self.sent -= 1;
        }
        let answer = match result.result {
            Some(Outcome::Reserved(reserved)) => Ok(BatchAnswer::Reserved(reserved)),
            Some(Outcome::Transitioned(transitioned)) => Ok(BatchAnswer::Transitioned(transitioned)),
            Some(Outcome::Stocked(stocked)) => Ok(BatchAnswer::Stocked(stocked)),
            Some(Outcome::Refused(refusal)) => match Attempt::from_refusal(refusal) {
                attempt @ (Attempt::Final(_) | Attempt::Untrusted { .. }) => {
                    Err(after(pending.effect, &pending.trouble, attempt.into_error()))
                }
                Attempt::Retry {
                    effect,
                    retry_after_ms,
                    message,
                } => {
                    if effect == Effect::Unknown {
                        pending.may_have_acted();
                    }
                    pending.trouble = message;
                    let pause = pending.backoff.next(Duration::from_millis(retry_after_ms));
                    pending.place = ItemState::Waiting(Instant::now() + pause);
                    return;
                }
            },
            // The result does not say what became of the item.
            None => Err(ClientError::Unknown {
                message: "the node sent a batch result without content".to_owned(),
            }),
        };
        if let Some(pending) = self.pending.remove(&result.tag) {
            // Nobody listens when the caller has given up.
            let _ = pending.submitted.answer.send(answer);
        }
    }

    /// Moves items that have waited long enough to the queue.
    fn wake(&mut self) {
        let now = Instant::now();
        for (tag, pending) in &mut self.pending {
            if matches!(pending.place, ItemState::Waiting(until) if until <= now) {
                pending.place = ItemState::Ready;
                self.ready.push_back(*tag);
            }
        }
    }

    /// Queues every item again after a broken stream. Items that were at the server may have had an effect.
    fn unsend(&mut self, attempt: &Attempt) {
        let (effect, message) = match attempt {
            Attempt::Final(error) => (Effect::Unknown, error.to_string()),
            Attempt::Untrusted { message } => (Effect::None, message.clone()),
            Attempt::Retry { effect, message, .. } => (*effect, message.clone()),
        };
        tracing::debug!(%message, unanswered = self.pending.len(), "a batch stream broke: the items without an answer are sent again");
        self.ready.clear();
        self.sent = 0;
        for (tag, pending) in &mut self.pending {
            if pending.place == ItemState::Sent && effect == Effect::Unknown {
                pending.may_have_acted();
            }
            pending.trouble.clone_from(&message);
            pending.place = ItemState::Ready;
            self.ready.push_back(*tag);
        }
    }

    /// Answers every item with an error that another attempt would not change.
    fn give_up_all(&mut self, error: &ClientError) {
        self.ready.clear();
        self.sent = 0;
        for (_, pending) in std::mem::take(&mut self.pending) {
            let error = after(pending.effect, &pending.trouble, error.clone());
            // Nobody listens when the caller has given up.
            let _ = pending.submitted.answer.send(Err(error));
        }
    }

    /// Answers the items whose deadline has passed.
    fn expire(&mut self) {
        let now = Instant::now();
        let late = self
            .pending
            .extract_if(.., |_, pending| pending.submitted.deadline <= now);
        for (_, pending) in late {
            // An item that is at the server may still take effect.
            let effect = if pending.place == ItemState::Sent {
                self.sent -= 1;
                Effect::Unknown
            } else {
                pending.effect
            };
            let _ = pending
                .submitted
                .answer
                .send(Err(give_up(effect, pending.trouble)));
        }
    }
}

fn without_effect(attempt: Attempt) -> Attempt {
    match attempt {
        Attempt::Final(error) => Attempt::Final(error),
        Attempt::Untrusted { message } => Attempt::Untrusted { message },
        Attempt::Retry {
            retry_after_ms,
            message,
            ..
        } => Attempt::Retry {
            effect: Effect::None,
            retry_after_ms,
            message,
        },
    }
}
