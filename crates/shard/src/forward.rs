//! Requests and answers between the replica that a caller asked and the one that leads.

use holdfast_ledger::{Command, Query};
use serde::{Deserialize, Serialize};

use crate::Answer;
use crate::QueryError;
use crate::peer::Portion;
use crate::proposer::CommandReply;

/// Request that another replica answers as the leader. It does not forward again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardRequest {
    Submit {
        commands: Vec<Command>,
        timeout_ms: u64,
    },
    Query {
        query: Query,
        timeout_ms: u64,
    },
    /// Asks only who leads; the answer is [`ForwardReply::NotLeader`]. Any replica answers.
    WhoLeads,
    /// Asks for changes, beginning with this one. Any replica answers.
    Changes {
        from_seq: u64,
    },
    /// Asks where the replica's history begins. Any replica answers.
    HistoryBegin,
}

/// Answer to a [`ForwardRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardReply {
    /// One reply for each command, in their order.
    Submit(Vec<CommandReply>),
    Query(Result<Answer, QueryError>),
    /// Changes, or the reason why they could not be read.
    Changes(Result<Portion, String>),
    /// The asked replica does not lead, and perhaps knows who does. Nothing was done.
    NotLeader {
        leader: Option<u64>,
    },
    /// The asked replica does not understand the request. Nothing was done.
    Malformed(String),
    /// The first change that the replica has not dropped.
    HistoryBegin(u64),
}
