//! Errors that callers get when there is no outcome.

use holdfast_ledger::Refusal;
use holdfast_storage::{ChangeLogError, LogError, SnapshotError};

use crate::ReplicaId;
use serde::{Deserialize, Serialize};

/// Reason why a command has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SubmitError {
    /// No leader was found before the deadline. The command had no effect.
    #[error("the shard has no leader that this node can reach")]
    NoLeader,
    /// The queue is full. The command had no effect.
    #[error("the shard is overloaded: try again in {retry_after_ms} ms")]
    Overloaded {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The command may or may not take effect. To learn which, repeat it with the same operation id.
    #[error("the outcome is unknown: repeat the request with the same operation id")]
    OutcomeUnknown,
    /// The deadline passed before the command was proposed. It had no effect.
    #[error("the deadline passed before the command was proposed")]
    Deadline,
    /// This replica is stopping or dead. The command had no effect.
    #[error("this replica of the shard has stopped")]
    Stopped,
    /// The command was refused, but an earlier attempt has no answer and may still take effect. It can no
    /// longer do so once the operation id is sealed ([`Command::seal`](holdfast_ledger::Command::seal)).
    #[error(
        "the outcome is unknown, because an earlier attempt has no answer; the last attempt was refused: {0}"
    )]
    Unsettled(Refusal),
    /// The disks of the shard's nodes are nearly full, and the command begins something new. It had no
    /// effect.
    #[error(
        "the disks of this shard's nodes are nearly full: nothing new is accepted until there is room, but commits, releases and reads go on"
    )]
    LowSpace,
}

/// Reason why a query has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum QueryError {
    /// The ledger refuses the question as malformed.
    #[error(transparent)]
    Refused(Refusal),
    /// No leader was found before the deadline.
    #[error("the shard has no leader that this node can reach")]
    NoLeader,
    /// Too many reads are waiting.
    #[error("the shard is overloaded: try again in {retry_after_ms} ms")]
    Overloaded {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The deadline passed before the read was confirmed.
    #[error("the deadline passed before the read was confirmed")]
    Deadline,
    /// This replica is stopping or dead.
    #[error("this replica of the shard has stopped")]
    Stopped,
}

/// Reason why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The options do not fit together.
    #[error("shard {shard}: {what}")]
    Options {
        /// Number of the shard.
        shard: u32,
        /// Description of the contradiction.
        what: String,
    },
    /// The files on disk cannot be used.
    #[error("shard {shard} cannot recover from its disk: {what}")]
    Recovery {
        /// Number of the shard.
        shard: u32,
        /// Description of the problem.
        what: String,
    },
    /// Bytes on disk are not the bytes that were written, and nothing here replaces them: the replica has
    /// forgotten what it knew.
    #[error("the data of shard {shard} on the disk is damaged: {what}")]
    Damaged {
        /// Number of the shard.
        shard: u32,
        /// Description of the damage.
        what: String,
    },
    /// Raft did not start.
    #[error("the Raft of shard {shard} did not start: {what}")]
    Raft {
        /// Number of the shard.
        shard: u32,
        /// Description of the problem.
        what: String,
    },
}

impl StartError {
    /// Converts an error of recovery: damage becomes [`Self::Damaged`], all else [`Self::Recovery`].
    pub(crate) fn recovery(shard: u32, error: &std::io::Error) -> Self {
        let what = error.to_string();
        if is_damage(error) {
            Self::Damaged { shard, what }
        } else {
            Self::Recovery { shard, what }
        }
    }
}

/// Returns whether an error says that bytes on disk are not the bytes that were written.
pub(crate) fn is_damage(error: &std::io::Error) -> bool {
    let inner = error.get_ref();
    let snapshot = inner.and_then(|inner| inner.downcast_ref::<SnapshotError>());
    let log = inner.and_then(|inner| inner.downcast_ref::<LogError>());
    let changes = inner.and_then(|inner| inner.downcast_ref::<ChangeLogError>());
    snapshot.is_some_and(SnapshotError::is_damage)
        || log.is_some_and(LogError::is_damage)
        || changes.is_some_and(ChangeLogError::is_damage)
}

/// Reason why a peer's message was not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerMessageError {
    /// The bytes are not a message of a supported version.
    #[error("the message of the peer is malformed: {0}")]
    Malformed(String),
    /// This replica is stopping or dead.
    #[error("this replica of the shard has stopped")]
    Stopped,
    /// The message is for another replica of the shard than the one on this node.
    #[error("the message is for replica {to}, but this node has replica {here}")]
    AnotherReplica {
        /// The replica that the message is for.
        to: ReplicaId,
        /// The replica on this node.
        here: ReplicaId,
    },
    /// This node has no replica of the shard.
    #[error("this node has no replica of the shard")]
    NotHere,
    /// The snapshot broke off or is not what its header says.
    #[error("the snapshot was not received: {0}")]
    Snapshot(String),
}

/// Reason why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// Only the leader can hand over.
    #[error("this replica does not lead the shard: {}", whom_to_ask(*leader))]
    NotLeader {
        /// The leading node, as far as known.
        leader: Option<u64>,
    },
    /// The node has no vote in this shard.
    #[error("node {0} has no vote in this shard")]
    NotAVoter(u64),
    /// No other replica can take over.
    #[error("no other replica is close enough to take over")]
    NobodyElse,
    /// The other node did not take over in time.
    #[error("node {0} did not take over in time")]
    NotTaken(u64),
    /// This replica is stopping or dead.
    #[error("this replica of the shard has stopped")]
    Stopped,
}

fn whom_to_ask(leader: Option<u64>) -> String {
    match leader {
        Some(node) => format!("ask node {node}"),
        None => "ask again when the shard has a leader".to_owned(),
    }
}
