//! Messages between replicas, as they are sent.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use serde::{Deserialize, Serialize};

use crate::raft_types::{SnapshotMeta, Types, Vote};

/// A request and the Raft id of the replica it is for. A later replica on the same node has another id.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Addressed<T> {
    pub(super) to: u64,
    pub(super) body: T,
}

/// A request of Raft.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum RaftRequest {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
    /// Asks whether the other replica would vote for the sender. Only for nodes that know it: see
    /// [`crate::PreVoteSupport`].
    PreVote(VoteRequest<Types>),
}

/// Answer to a [`RaftRequest`], with the clock of the replica that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RaftReply {
    pub(super) wall_clock_ms: u64,
    pub(super) body: RaftReplyBody,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum RaftReplyBody {
    Append(AppendEntriesResponse<Types>),
    Vote(VoteResponse<Types>),
    TransferLeader(TransferLeaderResponse<Types>),
    PreVote(VoteResponse<Types>),
}

/// Header before a snapshot's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
    pub(super) bytes: u64,
}

/// Answer to a snapshot.
pub(super) type SnapshotReply = SnapshotResponse<Types>;
