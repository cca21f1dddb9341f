//! Requests and answers between a replica that was asked and the one that leads.

use holdfast_ledger::{Command, Query};
use serde::{Deserialize, Serialize};

use crate::Answer;
use crate::QueryError;
use crate::peer::Portion;
use crate::proposer::CommandReply;

/// What another replica is asked to do as the leader. It does not forward again.
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
    /// Nothing but who leads, which [`ForwardReply::NotLeader`] tells. Any replica answers.
    WhoLeads,
    /// Changes from this one on. Any replica answers.
    Changes {
        from_seq: u64,
    },
}

/// Its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ForwardReply {
    /// One reply for each command, in order.
    Submit(Vec<CommandReply>),
    Query(Result<Answer, QueryError>),
    /// Changes, or why they could not be read.
    Changes(Result<Portion, String>),
    /// It does not lead; perhaps it knows who does. Nothing was done.
    NotLeader {
        leader: Option<u64>,
    },
    /// It does not understand the request. Nothing was done.
    Malformed(String),
}
