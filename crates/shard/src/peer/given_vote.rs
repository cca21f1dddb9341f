//! Votes as a simulation reads them off the wire and off the disk.
//!
//! A replica that gave its vote must still know that after a loss of power: otherwise it gives it again, to another candidate.

use super::message::{Addressed, RaftReply, RaftReplyBody, RaftRequest};
use crate::codec;
use crate::raft_types::Vote;

/// A vote that a replica gave. A later one is greater.
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

    /// Reads the vote that a candidate gives itself with the request it sends; none in other messages.
    pub fn in_request(payload: &[u8]) -> Option<Self> {
        match codec::decode::<Addressed<RaftRequest>>(payload).ok()?.body {
            RaftRequest::Vote(request) => Some(Self::new(&request.vote)),
            _ => None,
        }
    }

    /// Reads the vote that an answer grants; none in other answers.
    pub fn in_answer(payload: &[u8]) -> Option<Self> {
        match codec::decode::<RaftReply>(payload).ok()?.body {
            RaftReplyBody::Vote(answer) if answer.vote_granted => Some(Self::new(&answer.vote)),
            _ => None,
        }
    }

    /// Reads the vote in the log of a replica; none when the bytes are no vote.
    pub fn in_log(bytes: &[u8]) -> Option<Self> {
        let vote = codec::decode::<Vote>(bytes).ok()?;
        Some(Self::new(&vote))
    }
}
