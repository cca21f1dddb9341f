//! The batch stream: many items a message, one submission for each message and shard, results as they come.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_proto::v1::{self, Reason};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::api::Api;
use crate::errors;
use crate::mapping::inbound::{self, Taken};
use crate::mapping::outbound;
use crate::security::Caller;
use crate::security::access::Admission;
use crate::validation::{self, MAX_BATCH_ITEMS};

/// Most answers waiting to be written to the client.
const ANSWERS: usize = 64;

type Answers = mpsc::Sender<Result<v1::BatchResponse, Status>>;

/// Serves one stream in the background.
pub(super) fn start(
    api: &Arc<Api>,
    caller: Caller,
    messages: Streaming<v1::BatchRequest>,
) -> ReceiverStream<Result<v1::BatchResponse, Status>> {
    let (answers, outgoing) = mpsc::channel(ANSWERS);
    api.tasks
        .spawn("batch stream", serve(Arc::clone(api), caller, messages, answers));
    ReceiverStream::new(outgoing)
}

async fn serve(api: Arc<Api>, caller: Caller, mut messages: Streaming<v1::BatchRequest>, answers: Answers) {
    let places = Arc::new(Semaphore::new(api.limits.batch_items_in_flight));
    loop {
        let message = tokio::select! {
            message = messages.message() => message,
            () = answers.closed() => return,
            () = api.stopping.cancelled() => {
                let refusal = errors::refusal(
                    Reason::OutcomeUnknown,
                    "the node is stopping: repeat the items without a result, on another node",
                );
                finish(&places, &api, &answers, api.refused("Batch", refusal)).await;
                return;
            }
        };
        let items = match message {
            Ok(Some(message)) => message.items,
            // The client has sent everything; the stream ends when the last task has dropped its sender.
            Ok(None) => return,
            Err(status) => {
                tracing::debug!(message = status.message(), "batch stream broke");
                finish(&places, &api, &answers, status).await;
                return;
            }
        };
        if let Err(invalid) = validation::count("items", items.len(), 0, MAX_BATCH_ITEMS) {
            finish(&places, &api, &answers, api.refused("Batch", invalid.into())).await;
            return;
        }
        // One permit for each item: the client is read no further while too many are under way.
        let Ok(permit) = Arc::clone(&places).acquire_many_owned(items.len() as u32).await else {
            return;
        };
        let deadline = Instant::now() + Duration::from_millis(api.limits.default_deadline_ms);
        dispatch(&api, &caller, items, permit, deadline, &answers);
    }
}

/// Ends the stream with an error after everything under way is answered.
async fn finish(places: &Semaphore, api: &Api, answers: &Answers, status: Status) {
    let _all = places.acquire_many(api.limits.batch_items_in_flight as u32).await;
    // The client may be gone; then there is nobody to tell.
    let _ = answers.send(Err(status)).await;
}

/// Sorts one message's items by shard and has each group decided at once.
fn dispatch(
    api: &Arc<Api>,
    caller: &Caller,
    items: Vec<v1::BatchItem>,
    permit: OwnedSemaphorePermit,
    deadline: Instant,
    answers: &Answers,
) {
    let permit = Arc::new(permit);
    let mut refused = Vec::new();
    let mut by_shard: BTreeMap<u32, (Vec<u64>, Vec<Taken>)> = BTreeMap::new();
    for v1::BatchItem { tag, request } in items {
        let located = api
            .check_rate(caller)
            .and_then(|()| inbound::batch_item(request).map_err(v1::Refusal::from))
            .and_then(|mut taken| {
                // What has to be looked up first takes the way of what lives in an unknown shard.
                let shard = match api.admit_now(caller, &mut taken.command)? {
                    Admission::Granted => api.router.known_shard(&taken)?,
                    Admission::NeedsLookup => None,
                };
                Ok((shard, taken))
            });
        match located {
            Ok((Some(shard), taken)) => {
                let (tags, group) = by_shard.entry(shard).or_default();
                tags.push(tag);
                group.push(taken);
            }
            Ok((None, taken)) => {
                let (task_api, task_answers, permit) =
                    (Arc::clone(api), answers.clone(), Arc::clone(&permit));
                let caller = caller.clone();
                api.tasks.spawn("batch item", async move {
                    let result = task_api.decide_counted(&caller, taken, deadline).await;
                    let result = match result {
                        Ok((shard, success)) => outbound::batch_result(tag, shard, Ok(success)),
                        Err(refusal) => outbound::batch_result(tag, 0, Err(refusal)),
                    };
                    answer(&task_api, &task_answers, vec![result]).await;
                    drop(permit);
                });
            }
            Err(refusal) => refused.push(outbound::batch_result(tag, 0, Err(refusal))),
        }
    }
    if !refused.is_empty() {
        let (task_api, task_answers, permit) = (Arc::clone(api), answers.clone(), Arc::clone(&permit));
        api.tasks.spawn("batch refusals", async move {
            answer(&task_api, &task_answers, refused).await;
            drop(permit);
        });
    }
    for (shard, (tags, group)) in by_shard {
        let (task_api, task_answers, permit) = (Arc::clone(api), answers.clone(), Arc::clone(&permit));
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
            drop(permit);
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
    // The client may be gone; what it asked for is decided all the same.
    let _ = answers.send(Ok(v1::BatchResponse { results })).await;
}
