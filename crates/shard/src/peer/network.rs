//! Network of openraft, over a [`PeerTransport`].

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::Either;
use futures::{FutureExt, Stream, StreamExt, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendResult, VoteRequest,
    VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use openraft::{AnyError, OptionalSend, RaftNetworkFactory, RaftNetworkV2, StorageError};

use super::message::{Addressed, RaftReply, RaftReplyBody, RaftRequest, SnapshotHeader, SnapshotReply};
use crate::clock::LogClock;
use crate::codec;
use crate::host::Threads;
use crate::quorum_watch::QuorumWatch;
use crate::raft_types::{RaftEntry, Types, Vote};
use crate::replica_id::node_of;
use crate::state_machine::SnapshotData;
use crate::{PeerTransport, PreVoteSupport, TransportError};

type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotData>;

/// Pause after which a peer that could not be reached is tried again.
const RETRY_UNREACHABLE: Duration = Duration::from_millis(50);

/// Longest time that news of a commit waits for entries to travel with. This saves every second message while
/// entries keep coming. Only followers, and those who read from them, wait for it.
const COMMIT_PATIENCE: Duration = Duration::from_millis(2);

/// Options that are the same for all peers.
#[derive(Debug, Clone)]
pub(crate) struct NetworkOptions {
    pub(crate) shard: u32,
    pub(crate) max_appends_in_flight: usize,
    /// Time after which an append without an answer counts as lost.
    pub(crate) append_timeout: Duration,
    pub(crate) snapshot_chunk_bytes: usize,
    pub(crate) threads: Threads,
}

/// Makes a [`Peer`] for each other replica.
#[derive(Clone)]
pub(crate) struct Network {
    options: NetworkOptions,
    transport: Arc<dyn PeerTransport>,
    clock: LogClock,
    quorum: QuorumWatch,
}

impl Network {
    pub(crate) fn new(
        options: NetworkOptions,
        transport: Arc<dyn PeerTransport>,
        clock: LogClock,
        quorum: QuorumWatch,
    ) -> Self {
        Self {
            options,
            transport,
            clock,
            quorum,
        }
    }
}

impl Network {
    fn peer(&self, replica: u64) -> Peer {
        Peer {
            replica,
            network: self.clone(),
        }
    }

    /// Asks a replica whether it would vote for this one. A missing answer counts as a refusal.
    pub(crate) async fn ask(&self, voter: u64, request: VoteRequest<Types>, patience: Duration) -> Consent {
        match self.transport.pre_vote_support(node_of(voter)) {
            PreVoteSupport::Unreachable => Consent::Refused,
            PreVoteSupport::No => Consent::NotKnown,
            PreVoteSupport::Yes => match self
                .peer(voter)
                .send(RaftRequest::PreVote(request), patience)
                .await
            {
                Ok(RaftReplyBody::PreVote(response)) if response.vote_granted => Consent::Given,
                Ok(_) | Err(_) => Consent::Refused,
            },
        }
    }
}

/// Answer of a voter about a replica that would stand for election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Consent {
    /// The voter would vote for it.
    Given,
    /// The voter would not vote for it, or did not answer.
    Refused,
    /// The voter has a version that does not know the question.
    NotKnown,
}

impl RaftNetworkFactory<Types> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, _node: &openraft::EmptyNode) -> Peer {
        self.peer(target)
    }
}

/// One other replica of the group.
#[derive(Clone)]
pub(crate) struct Peer {
    /// Raft id of the peer.
    replica: u64,
    network: Network,
}

impl Peer {
    /// Sends a request. The request is handed to the transport before this returns, so that requests keep
    /// their order.
    fn send(
        &self,
        request: RaftRequest,
        timeout: Duration,
    ) -> impl Future<Output = Result<RaftReplyBody, RPCError<Types>>> + Send + use<> {
        let request = Addressed {
            to: self.replica,
            body: request,
        };
        let payload = match codec::encode(&request) {
            Ok(payload) => payload,
            Err(error) => return Either::Left(std::future::ready(Err(network_error(&error)))),
        };
        let answer = self
            .network
            .transport
            .raft(node_of(self.replica), self.network.options.shard, payload);
        let (replica, clock) = (self.replica, self.network.clock.clone());
        Either::Right(async move {
            let reply = match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer.map_err(transport_error)?,
                Err(elapsed) => return Err(network_error(&elapsed)),
            };
            let reply: RaftReply = codec::decode(&reply).map_err(|error| network_error(&error))?;
            clock.observe(replica, reply.wall_clock_ms);
            Ok(reply.body)
        })
    }

    /// Sends one append. The answer says up to which entry the peer's log is the same as ours.
    fn send_append(
        &self,
        request: AppendEntriesRequest<Types>,
    ) -> impl Future<Output = Result<StreamAppendResult<Types>, RPCError<Types>>> + Send + use<> {
        if self.network.quorum.is_silent() {
            return Either::Left(std::future::ready(Err(RPCError::Unreachable(Unreachable::new(
                &io::Error::other("no quorum answers this leader, so it is silent for a while"),
            )))));
        }
        let first = request.prev_log_id;
        let last = request
            .entries
            .last()
            .map(|entry: &RaftEntry| entry.log_id)
            .or(first);
        let reply = self.send(RaftRequest::Append(request), self.network.options.append_timeout);
        Either::Right(async move {
            match reply.await? {
                // An append without a log id before it cannot conflict, and openraft would panic on such an
                // answer.
                RaftReplyBody::Append(AppendEntriesResponse::Conflict) if first.is_none() => {
                    Err(network_error(&io::Error::other(
                        "the peer reports a conflict before the first entry",
                    )))
                }
                RaftReplyBody::Append(response) => Ok(response.into_stream_result(first, last)),
                other => Err(unexpected(&other)),
            }
        })
    }
}

fn network_error(error: &(impl std::error::Error + 'static)) -> RPCError<Types> {
    RPCError::Network(NetworkError::new(error))
}

fn transport_error(error: TransportError) -> RPCError<Types> {
    match &error {
        TransportError::NotSent(_) => RPCError::Unreachable(Unreachable::new(&error)),
        TransportError::Unknown(_) => network_error(&error),
    }
}

fn unexpected(body: &RaftReplyBody) -> RPCError<Types> {
    network_error(&io::Error::other(format!(
        "the peer answered something else: {body:?}"
    )))
}

impl RaftNetworkV2<Types> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<Types>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<Types>, RPCError<Types>> {
        match self.send(RaftRequest::Append(rpc), option.hard_ttl()).await? {
            RaftReplyBody::Append(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    /// Keeps several requests in flight, with answers in order. openraft ends the stream at the first error.
    fn stream_append<'s, S>(
        &'s mut self,
        input: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<BoxStream<'s, Result<StreamAppendResult<Types>, RPCError<Types>>>, RPCError<Types>>,
    >
    where
        S: Stream<Item = AppendEntriesRequest<Types>> + OptionalSend + Unpin + 'static,
    {
        let peer = self.clone();
        let in_flight = self.network.options.max_appends_in_flight;
        let answers = join_commits(input)
            .map(move |request| peer.send_append(request))
            .buffered(in_flight);
        let answers: BoxStream<'s, _> = Box::pin(answers);
        Box::pin(std::future::ready(Ok(answers)))
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.send(RaftRequest::Vote(rpc), option.hard_ttl()).await? {
            RaftReplyBody::Vote(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    /// Asks a peer for openraft's pre-vote. A node of a version that does not know the question counts as
    /// willing if it can be reached, because its own rules decide when it comes to the vote. A node that
    /// cannot be reached must not count as willing. Otherwise a replica that is cut off would begin one term
    /// after the other.
    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<Types>,
        option: RPCOption,
    ) -> Result<VoteResponse<Types>, RPCError<Types>> {
        match self.network.transport.pre_vote_support(node_of(self.replica)) {
            PreVoteSupport::Unreachable => Err(RPCError::Unreachable(Unreachable::new(&io::Error::other(
                "there is no connection to the voter",
            )))),
            PreVoteSupport::No => Ok(VoteResponse::new(rpc.vote, rpc.last_log_id, true)),
            PreVoteSupport::Yes => match self.send(RaftRequest::PreVote(rpc), option.hard_ttl()).await? {
                RaftReplyBody::PreVote(response) => Ok(response),
                other => Err(unexpected(&other)),
            },
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<Types>, StreamingError<Types>> {
        let SnapshotData::Stored(reader) = snapshot.snapshot else {
            let error = AnyError::error("a snapshot that was only received is not sent on");
            return Err(StreamingError::StorageError(StorageError::read_snapshot(
                None,
                <Types as openraft::type_config::TypeConfigExt>::err_from_error(&error),
            )));
        };
        let header = SnapshotHeader {
            vote,
            meta: snapshot.meta,
            bytes: reader.file().bytes,
        };
        let header = Addressed {
            to: self.replica,
            body: header,
        };
        let header = codec::encode(&header).map_err(|error| network_error(&error))?;
        let options = &self.network.options;
        let data = blocks(reader, options.snapshot_chunk_bytes, options.threads).boxed();
        let sending = self
            .network
            .transport
            .snapshot(node_of(self.replica), options.shard, header, data);
        let sending = tokio::time::timeout(option.hard_ttl(), sending);
        tokio::select! {
            closed = cancel => Err(StreamingError::Closed(closed)),
            sent = sending => {
                let reply = sent.map_err(|elapsed| network_error(&elapsed))?.map_err(transport_error)?;
                let reply: SnapshotReply = codec::decode(&reply).map_err(|error| network_error(&error))?;
                Ok(reply)
            }
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<Types>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<Types>, RPCError<Types>> {
        match self
            .send(RaftRequest::TransferLeader(req), option.hard_ttl())
            .await?
        {
            RaftReplyBody::TransferLeader(response) => Ok(response),
            other => Err(unexpected(&other)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        Some(Backoff::new(std::iter::repeat(RETRY_UNREACHABLE)))
    }
}

/// Leaves out each request without entries that another request soon follows, because the later one carries
/// the same commit or a later one. openraft takes one answer for all requests that end no later than the
/// answer says.
fn join_commits<S>(input: S) -> impl Stream<Item = AppendEntriesRequest<Types>>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    stream::unfold(input.fuse(), |mut input| async move {
        let mut request = input.next().await?;
        let patience = tokio::time::sleep(COMMIT_PATIENCE);
        tokio::pin!(patience);
        while request.entries.is_empty() {
            tokio::select! {
                biased;
                next = input.next() => match next {
                    Some(next) => request = next,
                    None => break,
                },
                () = &mut patience => break,
            }
        }
        Some((request, input))
    })
}

/// Streams a stored snapshot in chunks, read away from the shard's thread. Ends with an error when a block is
/// damaged.
fn blocks(
    reader: holdfast_storage::SnapshotReader,
    chunk_bytes: usize,
    threads: Threads,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    let blocks = stream::unfold(Some(reader), move |reader| {
        async move {
            let mut reader = reader?;
            let read = threads.blocking(move || {
                let block = reader.next_block();
                Ok((reader, block))
            });
            match read.await {
                Ok((reader, Ok(Some(block)))) => Some((Ok(block), Some(reader))),
                Ok((_, Ok(None))) => None,
                Ok((_, Err(error))) => Some((Err(io::Error::other(error)), None)),
                Err(error) => Some((Err(error), None)),
            }
        }
        .boxed()
    });
    blocks.flat_map(move |block| {
        let chunks = match block {
            Ok(block) => split(block, chunk_bytes).into_iter().map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        stream::iter(chunks)
    })
}

fn split(mut block: Bytes, chunk_bytes: usize) -> Vec<Bytes> {
    let mut chunks = Vec::new();
    while block.len() > chunk_bytes {
        chunks.push(block.split_to(chunk_bytes));
    }
    chunks.push(block);
    chunks
}

#[cfg(test)]
mod tests;
