//! The batch stream: a message has many items. The items of a message go to each shard in one submission, and
//! the results are sent as they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_api::limits::MAX_BATCH_ITEMS;
use holdfast_api::reasons;
use holdfast_api::v1::{self, Reason, Refusal};
use prost::Message as _;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tonic::{Status, Streaming};

use crate::api::{Admission, Api};
use crate::intake::outgoing::{self, Delivered, Outgoing, Undelivered};
use crate::intake::{Call, Charge};
use crate::mapping::inbound::{self, Taken};
use crate::mapping::outbound;
use crate::security::Caller;
use crate::undecodable;
use crate::validation;

/// The maximum number of answers that wait to be sent to the client.
const ANSWERS: usize = 4;

/// The approximate maximum size of an answer, in bytes.
pub(crate) const ANSWER_BYTES: usize = 2 << 20;

type Answers = Outgoing<v1::BatchResponse>;

/// The places and bytes that the items of one message take until all of them are answered.
struct Held {
    _places: OwnedSemaphorePermit,
    /// The charge of the items' message.
    _charge: Option<Charge>,
}

/// Serves one stream in the background.
///
/// # Errors
/// All places of batch streams are taken, or all that this caller may have.
pub(super) fn start(
    api: &Arc<Api>,
    caller: Caller,
    call: Option<Arc<Call>>,
    messages: Streaming<v1::BatchRequest>,
) -> Result<Delivered<v1::BatchResponse>, Refusal> {
    let place = api.batch_streams.take(caller.party())?;
    let patience = api.limits.unread.duration();
    let (answers, delivered) = outgoing::stream(ANSWERS, patience, place);
    let messages = Incoming {
        messages: Some(messages),
        call,
    };
    api.tasks
        .spawn("batch stream", serve(Arc::clone(api), caller, messages, answers));
    Ok(delivered)
}

/// The messages that a client sends.
struct Incoming {
    /// The stream, or None when the client has sent everything or the stream broke.
    messages: Option<Streaming<v1::BatchRequest>>,
    call: Option<Arc<Call>>,
}

impl Incoming {
    /// Reads the next message. A large one is decoded on the thread for large calls, where it delays no small
    /// call.
    async fn next(&mut self, api: &Api) -> Result<Option<v1::BatchRequest>, Status> {
        let Some(messages) = &mut self.messages else {
            return Ok(None);
        };
        let Some(call) = self.call.clone() else {
            return messages.message().await;
        };
        tokio::select! {
            message = messages.message() => return message,
            () = call.decoding.large_waits() => {}
        }
        let Some(mut messages) = self.messages.take() else {
            return Ok(None);
        };
        // The stream moves into the work and comes back with the message.
        let decoding = api.large_calls.run(async move {
            call.decoding.allow();
            let message = messages.message().await;
            (messages, message)
        });
        match decoding.await {
            Ok((messages, message)) => {
                self.messages = Some(messages);
                message
            }
            Err(error) => Err(Status::unavailable(format!(
                "a message could not be decoded: {error}"
            ))),
        }
    }

    /// Returns the charge of the message that was read last.
    fn charge(&self) -> Option<Charge> {
        self.call.as_ref().map(|call| call.take_over())
    }
}

async fn serve(api: Arc<Api>, caller: Caller, mut messages: Incoming, answers: Answers) {
    let places = Arc::new(Semaphore::new(api.limits.batch_items_in_flight));
    if let Some(call) = &messages.call {
        call.decoding.only_when_allowed();
    }
    loop {
        let message = tokio::select! {
            message = messages.next(&api) => message,
            () = answers.closed() => return,
            () = api.stopping.cancelled() => {
                let refusal = reasons::refusal(
                    Reason::OutcomeUnknown,
                    "the node is stopping: repeat the items without a result on another node",
                );
                finish(&places, &api, &answers, api.refused("Batch", refusal)).await;
                return;
            }
        };
        let items = match message {
            Ok(Some(message)) => message.items,
            // The client has sent everything. The stream ends when the last task drops its sender.
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(message = status.message(), "batch stream broke");
                let refused = undecodable::of_stream(&status);
                let status = refused.map_or(status, |refusal| api.refused("Batch", refusal));
                finish(&places, &api, &answers, status).await;
                return;
            }
        };
        if let Err(invalid) = validation::count("items", items.len(), 0, MAX_BATCH_ITEMS) {
            finish(&places, &api, &answers, api.refused("Batch", invalid.into())).await;
            return;
        }
        // Each item needs a permit. While too many items are in progress, no more are read from the client.
        let Ok(permit) = Arc::clone(&places).acquire_many_owned(items.len() as u32).await else {
            return;
        };
        let deadline = Instant::now() + api.limits.default_deadline.duration();
        let held = Held {
            _places: permit,
            _charge: messages.charge(),
        };
        dispatch(&api, &caller, items, held, deadline, &answers);
    }
}

/// Ends the stream with an error, after all items in progress are answered.
async fn finish(places: &Semaphore, api: &Api, answers: &Answers, status: Status) {
    let _all = places.acquire_many(api.limits.batch_items_in_flight as u32).await;
    answers.end(status);
}

/// Groups the items of one message by shard, and sends each group to its shard at once.
fn dispatch(
    api: &Arc<Api>,
    caller: &Caller,
    items: Vec<v1::BatchItem>,
    held: Held,
    deadline: Instant,
    answers: &Answers,
) {
    let held = Arc::new(held);
    let mut refused = Vec::new();
    let mut by_shard: BTreeMap<u32, (Vec<u64>, Vec<Taken>)> = BTreeMap::new();
    for v1::BatchItem { tag, request } in items {
        let located = api
            .check_rate(caller)
            .and_then(|()| inbound::batch_item(request).map_err(v1::Refusal::from))
            .and_then(|mut taken| {
                // An item that needs a lookup takes the same path as one whose shard is unknown.
                let shard = match api.admit_now(caller, &mut taken)? {
                    Admission::Granted => api.router.known_shard(&taken)?,
                    Admission::NeedsLookup => None,
                };
                match shard {
                    Some(shard) => {
                        api.router.check_rules(shard, &taken.command)?;
                        Ok((Some(shard), taken.positioned(shard)?))
                    }
                    None => Ok((None, taken)),
                }
            });
        match located {
            Ok((Some(shard), taken)) => {
                let (tags, group) = by_shard.entry(shard).or_default();
                tags.push(tag);
                group.push(taken);
            }
            Ok((None, taken)) => {
                let (task_api, task_answers, held) = (Arc::clone(api), answers.clone(), Arc::clone(&held));
                let caller = caller.clone();
                api.tasks.spawn("batch item", async move {
                    let result = task_api.decide_counted(&caller, taken, deadline).await;
                    let result = match result {
                        Ok((shard, success)) => outbound::batch_result(tag, shard, Ok(success)),
                        Err(refusal) => outbound::batch_result(tag, 0, Err(refusal)),
                    };
                    answer(&task_api, &task_answers, vec![result]).await;
                    drop(held);
                });
            }
            Err(refusal) => refused.push(outbound::batch_result(tag, 0, Err(refusal))),
        }
    }
    if !refused.is_empty() {
        let (task_api, task_answers, held) = (Arc::clone(api), answers.clone(), Arc::clone(&held));
        api.tasks.spawn("batch refusals", async move {
            answer(&task_api, &task_answers, refused).await;
            drop(held);
        });
    }
    for (shard, (tags, group)) in by_shard {
        let (task_api, task_answers, held) = (Arc::clone(api), answers.clone(), Arc::clone(&held));
        api.tasks.spawn("batch group", async move {
            let results = task_api.submit(shard, group, deadline).await;
            let results = tags
                .into_iter()
                .zip(results)
                .map(|(tag, result)| match result {
                    Ok((shard, success)) => outbound::batch_result(tag, shard, Ok(success)),
                    Err(refusal) => outbound::batch_result(tag, shard, Err(refusal)),
                })
                .collect();
            answer(&task_api, &task_answers, results).await;
            drop(held);
        });
    }
}

async fn answer(api: &Api, answers: &Answers, results: Vec<v1::BatchResult>) {
    api.metrics.batch_items(results.len());
    for result in &results {
        if let Some(v1::batch_result::Result::Refused(refusal)) = &result.result {
            api.metrics.refused(refusal.reason());
        }
    }
    for message in messages(results) {
        match answers.send(message).await {
            Ok(()) => {}
            // The items are decided anyway.
            Err(Undelivered::Gone) => return,
            Err(Undelivered::Unread) => return answers.end_unread(api, "Batch", Reason::OutcomeUnknown),
        }
    }
}

/// Packs results into as few messages as possible, each below a client's usual limit of 4 MiB. The receipt of
/// one large order alone can take half a megabyte.
fn messages(results: Vec<v1::BatchResult>) -> Vec<v1::BatchResponse> {
    let mut messages = vec![v1::BatchResponse::default()];
    let mut bytes = 0;
    for result in results {
        let size = result.encoded_len();
        bytes += size;
        if bytes > ANSWER_BYTES {
            messages.push(v1::BatchResponse::default());
            bytes = size;
        }
        if let Some(last) = messages.last_mut() {
            last.results.push(result);
        }
    }
    messages
}
