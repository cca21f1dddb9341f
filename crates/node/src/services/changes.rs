//! The service of the change stream.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use holdfast_api::reasons;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::changes_server::Changes;
use holdfast_api::v1::{self, Reason, Refusal};
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Change, Query, ReservationId, Sku};
use holdfast_shard::{ChangeReadError, ChangeReader, Freshness};
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status};

use super::slices::Slices;
use super::{Service, caller, consumers};
use crate::api::{Api, PROXIED};
use crate::intake::outgoing::{self, Delivered, Outgoing, Undelivered};
use crate::metrics::Following;
use crate::reasoned;
use crate::security::Caller;
use crate::validation;

/// The stored bytes of changes that are read from the change log at a time. A message has about the same
/// size.
const READ_BYTES: usize = 128 << 10;
/// The bytes that one stream may take: the changes read, their message, and one message that waits.
pub(crate) const STREAM_BYTES: usize = 1 << 20;
/// The maximum size of a message from another node. An older version sends an entry whole.
const MAX_PROXIED_BYTES: usize = 256 << 20;
/// The maximum number of messages that wait to be sent to the consumer.
const ANSWERS: usize = 1;

/// The interval at which the permission of the consumer is checked while nothing changes.
const JUDGED_EVERY: Duration = Duration::from_secs(1);

type Answers = Outgoing<v1::TailChangesResponse>;

/// The filter of a consumer's changes.
struct Filter {
    reservation_id: Option<ReservationId>,
    sku: Option<Sku>,
}

impl Filter {
    fn lets_through(&self, change: &Change) -> bool {
        let reservation = change.reservation.as_ref().map(|effect| effect.reservation_id);
        self.reservation_id.is_none_or(|id| reservation == Some(id))
            && self
                .sku
                .as_ref()
                .is_none_or(|sku| change.sku.as_ref() == Some(sku))
    }
}

/// The stream of one consumer.
struct Tail {
    api: Arc<Api>,
    caller: Caller,
    request: v1::TailChangesRequest,
    filter: Filter,
    /// Whether another node asks for its client. Then the answer comes from this node, or there is none.
    proxied: bool,
    answers: Answers,
}

/// The reason why a stream ends early.
enum End {
    /// The consumer has gone away.
    Gone,
    /// The consumer gets this status.
    Told(Status),
    /// The consumer does not read.
    Unread,
}

impl Tail {
    async fn serve(self) {
        let from_seq = self.request.from_seq.max(1);
        let following = self.api.metrics.change_stream(self.request.shard, from_seq);
        let end = tokio::select! {
            end = self.run(&following, from_seq) => end,
            () = self.answers.closed() => Err(End::Gone),
            () = self.api.stopping.cancelled() => {
                let message = "the node is stopping: resume on another node";
                Err(End::Told(self.api.refused("TailChanges", reasons::refusal(Reason::NoLeader, message))))
            }
        };
        match end {
            Ok(()) | Err(End::Gone) => {}
            Err(End::Told(status)) => self.answers.end(status),
            Err(End::Unread) => self
                .answers
                .end_unread(&self.api, "TailChanges", Reason::Overloaded),
        }
    }

    async fn run(&self, following: &Following, mut from_seq: u64) -> Result<(), End> {
        let reader = self.api.changes_of(self.request.shard).await;
        let reader = reader.map_err(|refusal| End::Told(self.api.refused("TailChanges", refusal)))?;
        // None until the beginning of the first entry is known.
        let mut slices = None;
        loop {
            // Checked again in every round, because a stream can outlive its rule and its certificate.
            may_follow(&self.api, &self.caller)
                .map_err(|refusal| End::Told(self.api.refused("TailChanges", refusal)))?;
            match read(&reader, from_seq).await {
                Ok(changes) if changes.is_empty() => {
                    following.caught_up();
                    if !self.request.follow {
                        return Ok(());
                    }
                    let waiting = reader.wait_past(from_seq - 1);
                    if let Ok(waited) = tokio::time::timeout(JUDGED_EVERY, waiting).await {
                        waited.map_err(|error| self.told(&error))?;
                    }
                }
                Ok(changes) => {
                    let offset = changes.first().map_or(0, |first| u64::from(first.entry_offset));
                    if slices.is_none() && offset > 0 {
                        // The position is inside an entry that has several records.
                        let first_seq = changes.first().map_or(from_seq, |first| first.seq);
                        from_seq = first_seq.saturating_sub(offset).max(1);
                        continue;
                    }
                    let log_time_ms = changes.last().map_or(0, |change| change.log_time_ms);
                    let first_seq = changes.first().map_or(from_seq, |first| first.seq);
                    let slices = slices.get_or_insert_with(|| Slices::new(self.request.shard, first_seq));
                    from_seq = self.pass_on(slices, changes, from_seq).await?;
                    following.sent(slices.through_seq(), log_time_ms);
                }
                Err(ChangeReadError::NotHere { .. }) if !self.proxied => {
                    slices = None;
                    from_seq = self.pass_on_from_peers(from_seq).await?;
                }
                Err(error) => return Err(self.told(&error)),
            }
        }
    }

    /// Sends the changes that pass the filter, and returns the next sequence number to read.
    async fn pass_on(&self, slices: &mut Slices, changes: Vec<Change>, from_seq: u64) -> Result<u64, End> {
        let through_seq = changes.last().map_or(from_seq - 1, |change| change.seq);
        for change in changes {
            let wanted = self.filter.lets_through(&change);
            if let Some(message) = slices.push(change, wanted) {
                self.send(message).await?;
            }
        }
        if let Some(message) = slices.whole_entries() {
            self.send(message).await?;
        }
        Ok(through_seq + 1)
    }

    async fn send(&self, mut message: v1::TailChangesResponse) -> Result<(), End> {
        message.cluster_id = cluster_id(&self.api);
        self.api.metrics.changes_sent(message.changes.len());
        let sent = self.answers.send(message).await;
        sent.map_err(|error| match error {
            Undelivered::Gone => End::Gone,
            Undelivered::Unread => End::Unread,
        })
    }

    /// Sends changes that another node has and this one does not, and returns the next sequence number.
    async fn pass_on_from_peers(&self, from_seq: u64) -> Result<u64, End> {
        // Whether every other node has said that it does not have them either.
        let mut all_lack_them = true;
        for node_id in self.api.peers.ids() {
            let Some(channel) = self.api.peers.client_channel(node_id) else {
                all_lack_them = false;
                continue;
            };
            let mut client = ChangesClient::new(channel).max_decoding_message_size(MAX_PROXIED_BYTES);
            let request = v1::TailChangesRequest {
                from_seq,
                follow: false,
                ..self.request.clone()
            };
            let mut request = Request::new(request);
            request
                .metadata_mut()
                .insert(PROXIED, AsciiMetadataValue::from_static("1"));
            let mut stream = match client.tail_changes(request).await {
                Ok(response) => response.into_inner(),
                Err(status) => {
                    tracing::debug!(
                        node_id,
                        message = status.message(),
                        "a peer does not serve changes"
                    );
                    all_lack_them &= lacks_them(&status);
                    continue;
                }
            };
            let (mut next_seq, mut inside) = (from_seq, false);
            loop {
                match stream.message().await {
                    Ok(Some(message)) => {
                        next_seq = next_seq.max(message.through_seq + 1);
                        inside = message.continues;
                        self.send(message).await?;
                    }
                    Ok(None) => {
                        // The node is behind, or it has sent something.
                        all_lack_them = false;
                        break;
                    }
                    Err(status) => {
                        tracing::debug!(
                            node_id,
                            message = status.message(),
                            "a peer stopped serving changes"
                        );
                        all_lack_them &= lacks_them(&status);
                        break;
                    }
                }
            }
            if inside {
                // The consumer has only a part of the entry. It must read the entry from its start in a new
                // stream.
                let message = "the node that sends old changes stopped in the middle of an entry: resume";
                let refusal = reasons::refusal(Reason::NoLeader, message);
                return Err(End::Told(self.api.refused("TailChanges", refusal)));
            }
            if next_seq > from_seq {
                return Ok(next_seq);
            }
        }
        let refusal = if all_lack_them {
            consumers::dropped(&self.api, self.request.shard, from_seq).await
        } else {
            let message =
                format!("no node that can be reached has the changes from {from_seq} on: try again");
            reasons::refusal(Reason::NoLeader, message)
        };
        Err(End::Told(self.api.refused("TailChanges", refusal)))
    }

    fn told(&self, error: &ChangeReadError) -> End {
        let refusal = reasoned::told_of_shard(self.request.shard, error);
        End::Told(self.api.refused("TailChanges", refusal))
    }
}

fn cluster_id(api: &Api) -> Bytes {
    Bytes::copy_from_slice(api.identity.cluster_id.as_bytes())
}

/// Refuses a consumer that has read another cluster, because its sequence numbers mean nothing here.
fn check_cluster(api: &Api, asked: &[u8]) -> Result<(), Refusal> {
    let here = api.identity.cluster_id;
    if asked.is_empty() || asked == here.as_bytes() {
        return Ok(());
    }
    let asked = uuid::Uuid::from_slice(asked)
        .map_err(|_| reasons::invalid("cluster_id must be empty or have 16 bytes"))?;
    let message = format!(
        "the consumer has read the changes of cluster {asked}, but this is cluster {here}, which has other changes"
    );
    Err(reasons::refusal(Reason::OtherCluster, message))
}

/// Returns whether a peer said that it does not have such old changes.
pub(super) fn lacks_them(status: &Status) -> bool {
    reasons::refusal_in(status).is_some_and(|refusal| refusal.reason() == Reason::PositionTooOld)
}

/// Checks that the caller may follow a change stream, which shows all storefronts and all warehouses.
fn may_follow(api: &Api, caller: &Caller) -> Result<(), Refusal> {
    api.still_allow(caller, Verb::Changes, &Touched::Everything, &Touched::Everything)
}

async fn read(reader: &ChangeReader, from_seq: u64) -> Result<Vec<Change>, ChangeReadError> {
    let reader = reader.clone();
    // The read blocks on the disk.
    match tokio::task::spawn_blocking(move || reader.read(from_seq, READ_BYTES)).await {
        Ok(result) => result,
        Err(error) => Err(ChangeReadError::Storage(error.to_string())),
    }
}

#[tonic::async_trait]
impl Changes for Service {
    type TailChangesStream = Delivered<v1::TailChangesResponse>;

    async fn tail_changes(
        &self,
        request: Request<v1::TailChangesRequest>,
    ) -> Result<Response<Self::TailChangesStream>, Status> {
        let proxied = request.metadata().contains_key(PROXIED);
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.api
            .unary("TailChanges", async {
                self.api
                    .allow(&caller, Verb::Changes, &Touched::Everything, &Touched::Everything)?;
                self.api.router.shard("shard", request.shard)?;
                check_cluster(&self.api, &request.cluster_id)?;
                let reservation_id = match request.reservation_id.as_ref() {
                    [] => None,
                    bytes => Some(validation::reservation_id("reservation_id", bytes)?),
                };
                let sku = match request.sku.as_str() {
                    "" => None,
                    name => Some(validation::sku("sku", name.to_owned())?),
                };
                let place = self.api.change_streams.take(caller.party())?;
                let charge = caller.session.charge(STREAM_BYTES).map_err(|limit| Refusal {
                    retry_after_ms: 1_000,
                    ..reasons::refusal(Reason::Overloaded, limit.to_string())
                })?;
                let patience = self.api.limits.unread.duration();
                let (answers, outgoing) = outgoing::stream(ANSWERS, patience, (place, charge));
                let filter = Filter { reservation_id, sku };
                let tail = Tail {
                    api: Arc::clone(&self.api),
                    caller,
                    request,
                    filter,
                    proxied,
                    answers,
                };
                self.api
                    .tasks
                    .spawn("change stream", async move { tail.serve().await });
                Ok(outgoing)
            })
            .await
    }

    async fn get_positions(
        &self,
        request: Request<v1::GetPositionsRequest>,
    ) -> Result<Response<v1::GetPositionsResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let proxied = request.metadata().contains_key(PROXIED);
        let caller = caller(&request)?;
        self.api
            .unary("GetPositions", async {
                // Positions say where streams begin and end, and nothing about their content.
                self.api
                    .allow(&caller, Verb::Changes, &Touched::Nothing, &Touched::Nothing)?;
                let positions = self.api.router.shards().iter().map(|handle| async move {
                    let shard = handle.shard();
                    // This is the smallest query. Only the position of its answer is needed.
                    let query = Query::ListCells {
                        after: None,
                        limit: 1,
                    };
                    let answer = self
                        .api
                        .query(shard, query, Freshness::Linearizable, deadline)
                        .await?;
                    let kept_from = self.api.changes_of(shard).await?.first_seq();
                    Ok::<_, Refusal>(v1::ShardPosition {
                        shard,
                        // If this node has no change, the next change is the first that it can serve.
                        first_seq: if kept_from == 0 {
                            answer.last_seq + 1
                        } else {
                            kept_from
                        },
                        last_seq: answer.last_seq,
                        log_time_ms: answer.position.log_time_ms,
                    })
                });
                let mut shards = try_join_all(positions).await?;
                // Another replica may have dropped less.
                if !proxied && shards.iter().any(|position| position.first_seq > 1) {
                    self.look_for_older(&mut shards).await;
                }
                Ok(v1::GetPositionsResponse {
                    shards,
                    cluster_id: cluster_id(&self.api),
                })
            })
            .await
    }

    async fn register_consumer(
        &self,
        request: Request<v1::RegisterConsumerRequest>,
    ) -> Result<Response<v1::RegisterConsumerResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let answer = consumers::register(&self.api, &caller, request.into_inner(), deadline);
        self.api.unary("RegisterConsumer", answer).await
    }

    async fn advance_consumer(
        &self,
        request: Request<v1::AdvanceConsumerRequest>,
    ) -> Result<Response<v1::AdvanceConsumerResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let answer = consumers::advance(&self.api, &caller, request.into_inner(), deadline);
        self.api.unary("AdvanceConsumer", answer).await
    }

    async fn remove_consumer(
        &self,
        request: Request<v1::RemoveConsumerRequest>,
    ) -> Result<Response<v1::RemoveConsumerResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let answer = consumers::remove(&self.api, &caller, request.into_inner(), deadline);
        self.api.unary("RemoveConsumer", answer).await
    }

    async fn list_consumers(
        &self,
        request: Request<v1::ListConsumersRequest>,
    ) -> Result<Response<v1::ListConsumersResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let answer = consumers::list(&self.api, &caller, deadline);
        self.api.unary("ListConsumers", answer).await
    }
}

impl Service {
    /// Lowers each first sequence number to the lowest that a reachable node can serve.
    async fn look_for_older(&self, shards: &mut [v1::ShardPosition]) {
        for node_id in self.api.peers.ids() {
            let Some(channel) = self.api.peers.client_channel(node_id) else {
                continue;
            };
            let mut request = Request::new(v1::GetPositionsRequest {});
            request
                .metadata_mut()
                .insert(PROXIED, AsciiMetadataValue::from_static("1"));
            request.set_timeout(Duration::from_secs(1));
            let Ok(response) = ChangesClient::new(channel).get_positions(request).await else {
                continue;
            };
            for (mine, other) in shards.iter_mut().zip(response.into_inner().shards) {
                mine.first_seq = mine.first_seq.min(other.first_seq);
            }
        }
    }
}
