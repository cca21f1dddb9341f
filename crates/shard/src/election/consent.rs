//! Whether a replica would vote for another one.

use openraft::raft::VoteRequest;

use crate::raft_types::{LogId, Types, Vote};

/// What a replica's consent depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) vote: Vote,
    pub(super) last_log: Option<LogId>,
    /// No leader was heard for the shortest election timeout, or its process is gone.
    pub(super) misses_leader: bool,
}

/// Raft's rule of a pre-vote: no leader is there, the log of the one who asks has all that this one's has, and its term is not
/// over.
pub(super) fn would_vote(request: &VoteRequest<Types>, own: &Standing) -> bool {
    own.misses_leader && request.last_log_id >= own.last_log && request.vote >= own.vote
}
