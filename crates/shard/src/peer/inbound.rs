//! Inbound messages from peers, which are handed to Raft.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, Either};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::raft::{AppendEntriesResponse, VoteRequest, VoteResponse};
use openraft::storage::RaftStateMachine;
use parking_lot::Mutex;

use super::History;
use super::message::{Addressed, RaftReply, RaftReplyBody, RaftRequest, SnapshotHeader};
use crate::clock::LogClock;
use crate::election::LeaderWatch;
use crate::host::Threads;
use crate::metrics::{Counters, add};
use crate::raft_types::{RaftOf, Types, Vote};
use crate::read::Freshest;
use crate::replica_id::node_of;
use crate::state_machine::{SnapshotData, StateMachine};
use crate::{PeerMessageError, ReplicaId, codec};

/// Function that reads the content of a snapshot's bytes.
type ReadSnapshot = fn(Bytes) -> io::Result<SnapshotData>;

/// The receiving side of a replica.
pub(crate) struct Inbound<SM: RaftStateMachine<Types, SnapshotData = SnapshotData> = StateMachine> {
    raft: RaftOf<SM>,
    /// Reads the content of a snapshot's bytes, and checks it.
    read_snapshot: ReadSnapshot,
    /// The change history that must be complete before a snapshot is taken.
    history: Option<History>,
    freshest: Arc<Mutex<Freshest>>,
    counters: Arc<Counters>,
    clock: LogClock,
    leader: LeaderWatch,
    threads: Threads,
    max_snapshot_bytes: u64,
}

impl<SM: RaftStateMachine<Types, SnapshotData = SnapshotData>> Clone for Inbound<SM> {
    fn clone(&self) -> Self {
        Self {
            raft: self.raft.clone(),
            read_snapshot: self.read_snapshot,
            history: self.history.clone(),
            freshest: Arc::clone(&self.freshest),
            counters: Arc::clone(&self.counters),
            clock: self.clock.clone(),
            leader: self.leader.clone(),
            threads: self.threads,
            max_snapshot_bytes: self.max_snapshot_bytes,
        }
    }
}

impl<SM: RaftStateMachine<Types, SnapshotData = SnapshotData>> Inbound<SM> {
    pub(crate) fn new(
        raft: RaftOf<SM>,
        (read_snapshot, history): (ReadSnapshot, Option<History>),
        freshest: Arc<Mutex<Freshest>>,
        counters: Arc<Counters>,
        (clock, leader): (LogClock, LeaderWatch),
        threads: Threads,
        max_snapshot_bytes: u64,
    ) -> Self {
        Self {
            raft,
            read_snapshot,
            history,
            freshest,
            counters,
            clock,
            leader,
            threads,
            max_snapshot_bytes,
        }
    }

    /// Refuses a message for a replica that was here before, or that will be here later.
    fn check_address(&self, to: u64) -> Result<(), PeerMessageError> {
        let own_id = *self.raft.node_id();
        if to == own_id {
            Ok(())
        } else {
            Err(PeerMessageError::AnotherReplica {
                to: ReplicaId::from_raft(to),
                here: ReplicaId::from_raft(own_id),
            })
        }
    }

    fn malformed(&self, what: impl std::fmt::Display) -> PeerMessageError {
        add(&self.counters.malformed_messages, 1);
        PeerMessageError::Malformed(what.to_string())
    }

    /// Hands a message to Raft before it returns, so that messages keep their order. The future is the
    /// answer.
    pub(crate) fn raft(
        &self,
        payload: &[u8],
    ) -> impl Future<Output = Result<Bytes, PeerMessageError>> + Send + use<SM> {
        let request = codec::decode::<Addressed<RaftRequest>>(payload).map_err(|error| self.malformed(error));
        let request = match request.and_then(|request| {
            self.check_address(request.to)?;
            Ok(request.body)
        }) {
            Ok(request) => request,
            Err(error) => return Either::Left(std::future::ready(Err(error))),
        };
        let mut answer: BoxFuture<'static, _> = self.clone().answer(request).boxed();
        match (&mut answer).now_or_never() {
            Some(done) => Either::Left(std::future::ready(done)),
            None => Either::Right(answer),
        }
    }

    async fn answer(self, request: RaftRequest) -> Result<Bytes, PeerMessageError> {
        let body = match request {
            RaftRequest::Append(request) => {
                self.hear(&request.vote);
                let leader_commit = request.leader_commit.map_or(0, |commit| commit.index);
                let response = self
                    .raft
                    .append_entries(request)
                    .await
                    .map_err(|_| PeerMessageError::Stopped)?;
                if matches!(response, AppendEntriesResponse::Success) {
                    self.freshest.lock().heard(leader_commit);
                }
                RaftReplyBody::Append(response)
            }
            RaftRequest::Vote(request) => RaftReplyBody::Vote(
                self.raft
                    .vote(request)
                    .await
                    .map_err(|_| PeerMessageError::Stopped)?,
            ),
            RaftRequest::PreVote(request) => RaftReplyBody::PreVote(self.consent(&request)),
            RaftRequest::TransferLeader(request) => RaftReplyBody::TransferLeader(
                self.raft
                    .handle_transfer_leader(request)
                    .await
                    .map_err(|_| PeerMessageError::Stopped)?,
            ),
        };
        let reply = RaftReply {
            wall_clock_ms: self.clock.wall_clock_ms(),
            body,
        };
        codec::encode(&reply).map_err(|error| PeerMessageError::Malformed(error.to_string()))
    }

    /// Records that a leader spoke. Does so at once, since the leader's message may have to wait for a slow
    /// disk.
    fn hear(&self, vote: &Vote) {
        let own = self.raft.server_metrics().borrow_watched().vote;
        self.leader.heard(vote, &own);
    }

    /// Answers whether this replica would vote for another one.
    fn consent(&self, request: &VoteRequest<Types>) -> VoteResponse<Types> {
        let last_log = self.raft.data_metrics().borrow_watched().last_log;
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let leads = (metrics.state == openraft::ServerState::Leader).then(|| {
            let acked = metrics.last_quorum_acked.as_ref();
            acked.map_or(Duration::ZERO, |at| openraft::Instant::elapsed(&**at))
        });
        self.leader.answer(request, (metrics.vote, last_log), leads)
    }

    /// Receives a snapshot whole and checks it before Raft hears of it.
    pub(crate) async fn snapshot(
        &self,
        header: &[u8],
        mut data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> Result<Bytes, PeerMessageError> {
        let header: Addressed<SnapshotHeader> =
            codec::decode(header).map_err(|error| self.malformed(error))?;
        self.check_address(header.to)?;
        let header = header.body;
        if header.bytes > self.max_snapshot_bytes {
            return Err(PeerMessageError::Snapshot(format!(
                "it has {} bytes, at most {} are allowed",
                header.bytes, self.max_snapshot_bytes
            )));
        }
        let mut bytes: Vec<u8> = Vec::new();
        while let Some(chunk) = data.next().await {
            let chunk = chunk.map_err(|error| PeerMessageError::Snapshot(error.to_string()))?;
            self.hear(&header.vote);
            if bytes.len() as u64 + chunk.len() as u64 > header.bytes {
                return Err(PeerMessageError::Snapshot(format!(
                    "it is longer than the {} bytes that were announced",
                    header.bytes
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        if bytes.len() as u64 != header.bytes {
            return Err(PeerMessageError::Snapshot(format!(
                "it ended after {} of {} bytes",
                bytes.len(),
                header.bytes
            )));
        }
        let received = self
            .threads
            .blocking({
                let read = self.read_snapshot;
                move || read(Bytes::from(bytes))
            })
            .await;
        let received = received.map_err(|error| PeerMessageError::Snapshot(error.to_string()))?;
        if let (Some(history), Some(last_seq)) = (&self.history, received.last_seq()) {
            let sender = node_of(header.vote.leader_id().node_id);
            let completed = history.complete(sender, last_seq).await;
            completed.map_err(PeerMessageError::Snapshot)?;
        }
        let snapshot = openraft::type_config::alias::SnapshotOf::<Types, SnapshotData> {
            meta: header.meta,
            snapshot: received,
        };
        let reply = self
            .raft
            .install_full_snapshot(header.vote, snapshot)
            .await
            .map_err(|_| PeerMessageError::Stopped)?;
        codec::encode(&reply).map_err(|error| PeerMessageError::Malformed(error.to_string()))
    }
}
