//! Consent of a replica: whether it would vote for another one.

use openraft::raft::VoteRequest;

use crate::raft_types::{LogId, Types, Vote};

/// Facts on which a replica's consent depends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) vote: Vote,
    pub(super) last_log: Option<LogId>,
    /// Whether no leader was heard for the shortest election timeout, or the leader's process is gone.
    pub(super) misses_leader: bool,
}

/// Applies Raft's rule of a pre-vote: the leader is missing, the asking replica's log has everything that
/// this one's has, and its term is not over.
pub(super) fn would_vote(request: &VoteRequest<Types>, own: &Standing) -> bool {
    own.misses_leader && request.last_log_id >= own.last_log && request.vote >= own.vote
}
