//! The service that other nodes call.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::Either;
use futures::stream::FuturesUnordered;
use holdfast_api::peer::peer_server::Peer;
use holdfast_api::peer::{
    DecideEntryRequest, DecideEntryResponse, ForwardRequest, ForwardResponse, HandOverRequest,
    HandOverResponse, IntroduceRequest, IntroduceResponse, RaftMessage, ReportRequest, ReportResponse,
    SnapshotChunk, SnapshotInstalled,
};
use holdfast_api::reasons;
use holdfast_shard::{EntryRule, PeerMessageError, RegisterHandle, ShardHandle};
use prost::Message as _;
use tokio::sync::mpsc;
use tokio::time::{Duration, Instant};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::Identity;
use super::presence::say_what_we_speak;
use crate::directory::members::Directory;
use crate::directory::{DIRECTORY, Membership};
use crate::intake::LARGE_BYTES;
use crate::own_thread::OwnThread;
use crate::reasoned;
use crate::security::Caller;
use crate::services::cluster::status_of;
use crate::services::deciding;
use crate::space::Space;
use crate::tasks::Tasks;

/// Most answers that wait to be written to one peer. Its requests are read no further until it takes some.
const ANSWERS: usize = 1_024;
/// Longest time that a decision on an entry may take to be committed and applied.
const DECISION_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest name of an operator that is written into the log, in characters.
const MAX_OPERATOR_CHARS: usize = 128;
/// Most Raft messages of one peer that are under way.
const MESSAGES_IN_FLIGHT: usize = 4_096;

/// The service that other nodes call, for this node's shards and its replica of the directory.
#[derive(Clone)]
pub struct PeerService {
    identity: Identity,
    membership: Arc<Membership>,
    space: Space,
    /// The thread that decodes and judges large requests of clients.
    large_calls: Arc<OwnThread>,
    tasks: Tasks,
    stopping: CancellationToken,
}

impl PeerService {
    /// Returns a service that works until `stopping` is cancelled.
    pub(crate) fn new(
        identity: Identity,
        membership: Arc<Membership>,
        space: Space,
        large_calls: Arc<OwnThread>,
        tasks: Tasks,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            identity,
            membership,
            space,
            large_calls,
            tasks,
            stopping,
        }
    }

    /// Checks the greeting of a request, and returns the node that sent it. The caller's certificate, if it
    /// has one, must belong to that node.
    fn greeted<T>(&self, request: &Request<T>) -> Result<u64, Status> {
        let from = self.identity.check(request.metadata())?;
        let proven = request
            .extensions()
            .get::<Caller>()
            .and_then(|caller| caller.node_id);
        match proven {
            Some(node_id) if node_id != from => Err(Status::failed_precondition(format!(
                "the caller says that it is node {from} and has the certificate of node {node_id}: correct tls.certificate or node.node_id"
            ))),
            _ => Ok(from),
        }
    }

    fn group(&self, shard: u32) -> Result<Group, Status> {
        if shard != DIRECTORY {
            return Ok(Group::Shard(self.shard(shard)?.clone()));
        }
        let register = self.membership.register();
        let register = register.map(|register| Group::Directory(Box::new(register)));
        register.ok_or_else(|| Status::unavailable("this node has no part in a cluster yet"))
    }

    fn shard(&self, shard: u32) -> Result<&ShardHandle, Status> {
        let shards = self.membership.shards();
        shards.get(shard as usize).ok_or_else(|| {
            Status::invalid_argument(format!(
                "there is no shard {shard}, this node has {}: shards.count must be the same on every node",
                shards.len()
            ))
        })
    }
}

/// The Raft group that a message is for.
enum Group {
    Shard(ShardHandle),
    Directory(Box<RegisterHandle<Directory>>),
}

#[tonic::async_trait]
impl Peer for PeerService {
    type RaftStream = ReceiverStream<Result<RaftMessage, Status>>;

    async fn raft(
        &self,
        request: Request<Streaming<RaftMessage>>,
    ) -> Result<Response<Self::RaftStream>, Status> {
        let from = self.greeted(&request)?;
        let (answers, outgoing) = mpsc::channel(ANSWERS);
        let service = self.clone();
        let messages = request.into_inner();
        self.tasks.spawn("raft stream", async move {
            let stopping = service.stopping.clone();
            tokio::select! {
                () = serve_raft(&service, from, messages, answers) => {}
                () = stopping.cancelled() => {}
            }
        });
        let mut response = Response::new(ReceiverStream::new(outgoing));
        say_what_we_speak(response.metadata_mut());
        Ok(response)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<SnapshotInstalled>, Status> {
        let from = self.greeted(&request)?;
        let mut chunks = request.into_inner();
        let first = chunks
            .message()
            .await?
            .ok_or_else(|| Status::invalid_argument("a snapshot begins with a chunk that has a header"))?;
        let group = self.group(first.shard)?;
        tracing::info!(from, shard = first.shard, "receiving a snapshot");
        let begin = futures::stream::once(futures::future::ready(Ok(first.data)));
        let rest = chunks.map(|chunk| match chunk {
            Ok(chunk) => Ok(chunk.data),
            Err(status) => Err(io::Error::other(status.message().to_owned())),
        });
        let data = begin.chain(rest).filter(|chunk| {
            let empty = matches!(chunk, Ok(data) if data.is_empty());
            futures::future::ready(!empty)
        });
        let payload = match group {
            Group::Shard(shard) => shard.handle_snapshot(first.header, data.boxed()).await,
            Group::Directory(register) => register.handle_snapshot(first.header, data.boxed()).await,
        };
        let payload = payload.map_err(peer_message_status)?;
        Ok(Response::new(SnapshotInstalled { payload }))
    }

    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<ForwardResponse>, Status> {
        self.greeted(&request)?;
        let request = request.into_inner();
        let payload = match self.group(request.shard)? {
            Group::Shard(shard) if request.payload.len() > LARGE_BYTES => {
                // Decoding and judging a large request must not delay the messages of other nodes.
                let large = self
                    .large_calls
                    .run(async move { shard.handle_forward(request.payload).await });
                large.await.map_err(|error| {
                    Status::unavailable(format!("a large request ended before it was complete: {error}"))
                })?
            }
            Group::Shard(shard) => shard.handle_forward(request.payload).await,
            Group::Directory(register) => register.handle_forward(request.payload).await,
        };
        Ok(Response::new(ForwardResponse { payload }))
    }

    async fn introduce(
        &self,
        request: Request<IntroduceRequest>,
    ) -> Result<Response<IntroduceResponse>, Status> {
        let from = self.greeted(&request)?;
        let payload = self.membership.introduced(from, &request.into_inner().payload);
        let payload = payload.map_err(Status::failed_precondition)?;
        Ok(Response::new(IntroduceResponse { payload }))
    }

    async fn hand_over(
        &self,
        request: Request<HandOverRequest>,
    ) -> Result<Response<HandOverResponse>, Status> {
        let from = self.greeted(&request)?;
        let HandOverRequest { shard, to_node_id } = request.into_inner();
        let to = Some(to_node_id).filter(|to| *to != 0);
        match self.shard(shard)?.transfer_leader(to).await {
            Ok(leader_node_id) => {
                tracing::info!(shard, from, leader_node_id, "leadership handed over");
                Ok(Response::new(HandOverResponse { leader_node_id }))
            }
            Err(error) => Err(reasons::status(reasoned::told(&error))),
        }
    }

    async fn report(&self, request: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        self.greeted(&request)?;
        let status = status_of(self.identity.node_id, self.membership.shards(), &self.space);
        Ok(Response::new(ReportResponse {
            node_status: status.encode_to_vec().into(),
        }))
    }

    async fn decide_entry(
        &self,
        request: Request<DecideEntryRequest>,
    ) -> Result<Response<DecideEntryResponse>, Status> {
        let from = self.greeted(&request)?;
        let DecideEntryRequest {
            shard,
            log_index,
            rule,
            by,
        } = request.into_inner();
        let rule = EntryRule::parse(&rule)
            .ok_or_else(|| Status::invalid_argument(format!("this version knows no rule `{rule}`")))?;
        tracing::info!(shard, log_index, from, by, "an operator decides an entry");
        let by = by.chars().take(MAX_OPERATOR_CHARS).collect();
        let deadline = Instant::now() + DECISION_TIMEOUT;
        let decided = self.shard(shard)?.decide_entry(log_index, rule, by, deadline);
        match decided.await {
            Ok(()) => Ok(Response::new(DecideEntryResponse {})),
            Err(error) => Err(reasons::status(deciding::refusal(&error))),
        }
    }
}

fn peer_message_status(error: PeerMessageError) -> Status {
    match error {
        // These are refusals before anything is done; the sender may count on that.
        PeerMessageError::Malformed(_) => Status::invalid_argument(error.to_string()),
        PeerMessageError::Stopped | PeerMessageError::NotHere | PeerMessageError::AnotherReplica { .. } => {
            Status::failed_precondition(error.to_string())
        }
        PeerMessageError::Snapshot(_) => Status::aborted(error.to_string()),
    }
}

/// Hands messages over in the order in which they come, without waiting for answers.
async fn serve_raft(
    service: &PeerService,
    from: u64,
    mut messages: Streaming<RaftMessage>,
    answers: mpsc::Sender<Result<RaftMessage, Status>>,
) {
    let mut under_way = FuturesUnordered::new();
    loop {
        tokio::select! {
            message = messages.message(), if under_way.len() < MESSAGES_IN_FLIGHT => {
                let RaftMessage { request_id, shard, payload, .. } = match message {
                    Ok(Some(message)) => message,
                    Ok(None) => return,
                    Err(status) => {
                        tracing::debug!(from, message = status.message(), "raft stream broke");
                        return;
                    }
                };
                let group = match service.group(shard) {
                    Ok(group) => group,
                    Err(status) => {
                        // A cluster that disagrees about its shards cannot work, so the stream ends with the
                        // reason.
                        let _ = answers.send(Err(status)).await;
                        return;
                    }
                };
                // The call hands the message over before the next one is read.
                let answered = match group {
                    Group::Shard(shard) => Either::Left(shard.handle_raft(payload)),
                    Group::Directory(register) => Either::Right(register.handle_raft(payload)),
                };
                let space = service.space.clone();
                under_way.push(async move {
                    let payload = match answered.await {
                        Ok(payload) => payload,
                        Err(error) => {
                            tracing::debug!(from, shard, %error, "raft message was not answered");
                            // An empty payload means that there is no answer. Every real answer has a version
                            // byte.
                            Bytes::new()
                        }
                    };
                    RaftMessage { request_id, shard, payload, low_space: space.is_low() }
                });
            }
            Some(answer) = under_way.next(), if !under_way.is_empty() => {
                if answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}
