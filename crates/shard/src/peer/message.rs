//! The messages, as they travel.

use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
};
use openraft::raft::{TransferLeaderRequest, TransferLeaderResponse};
use serde::{Deserialize, Serialize};

use crate::raft_types::{SnapshotMeta, Types, Vote};

/// A request and the replica it is for, by Raft's number: a later replica on the same node is somebody else.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Addressed<T> {
    pub(super) to: u64,
    pub(super) body: T,
}

/// A Raft request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum RaftRequest {
    Append(AppendEntriesRequest<Types>),
    Vote(VoteRequest<Types>),
    TransferLeader(TransferLeaderRequest<Types>),
    /// Whether the other would vote for it. Only for nodes that know it: see [`crate::PreVoteSupport`].
    PreVote(VoteRequest<Types>),
}

/// The answer to a [`RaftRequest`] and the clock of the one who answers.
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

/// What goes before a snapshot's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotHeader {
    pub(super) vote: Vote,
    pub(super) meta: SnapshotMeta,
    pub(super) bytes: u64,
}

/// What comes back for a snapshot.
pub(super) type SnapshotReply = SnapshotResponse<Types>;
