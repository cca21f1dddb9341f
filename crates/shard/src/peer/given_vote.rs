//! Votes that a simulation reads from messages and from disks.
//!
//! A replica that gave its vote must still know it after a loss of power. Otherwise it votes again in the
//! same term, for another candidate.

use super::message::{Addressed, RaftReply, RaftReplyBody, RaftRequest};
use crate::codec;
use crate::raft_types::Vote;

/// A vote that a replica gave. A later vote is greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct GivenVote {
    term: u64,
    candidate: u64,
}

impl GivenVote {
    fn new(vote: &Vote) -> Self {
        let leader = vote.leader_id();
        Self {
            term: leader.term,
            candidate: leader.node_id,
        }
    }

    /// Reads the vote that a candidate gives itself with the request it sends. Returns `None` for other
    /// messages.
    pub fn in_request(payload: &[u8]) -> Option<Self> {
        match codec::decode::<Addressed<RaftRequest>>(payload).ok()?.body {
            RaftRequest::Vote(request) => Some(Self::new(&request.vote)),
            _ => None,
        }
    }

    /// Reads the vote that an answer grants. Returns `None` for other answers.
    pub fn in_answer(payload: &[u8]) -> Option<Self> {
        match codec::decode::<RaftReply>(payload).ok()?.body {
            RaftReplyBody::Vote(answer) if answer.vote_granted => Some(Self::new(&answer.vote)),
            _ => None,
        }
    }

    /// Reads the vote in the log of a replica. Returns `None` when the bytes are not a vote.
    pub fn in_log(bytes: &[u8]) -> Option<Self> {
        let vote = codec::decode::<Vote>(bytes).ok()?;
        Some(Self::new(&vote))
    }
}
