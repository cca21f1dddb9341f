//! Types with which this crate uses openraft.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_ledger::{Command, Entry, Outcome};
use openraft::Config;
use serde::{Deserialize, Serialize};

use crate::codec::{self, CodecError};
use crate::halt::EntryDecision;
use crate::trace::EntryTrace;

/// Runtime of Raft, and source of its random numbers.
#[cfg(not(feature = "simulation"))]
pub(crate) type Runtime = openraft_rt_tokio::TokioRuntime;
#[cfg(feature = "simulation")]
pub(crate) type Runtime = openraft::rt::deterministic_rng::DeterministicRng<openraft_rt_tokio::TokioRuntime>;

openraft::declare_raft_types!(
    /// Types of one shard's Raft group.
    pub(crate) Types:
        D = EntryBytes,
        R = Response,
        NodeId = u64,
        Node = openraft::EmptyNode,
        AsyncRuntime = Runtime,
);

pub(crate) type LogId = openraft::type_config::alias::LogIdOf<Types>;
pub(crate) type Vote = openraft::type_config::alias::VoteOf<Types>;
/// Identity of a leader in one of its terms.
pub(crate) type Leadership = openraft::type_config::alias::CommittedLeaderIdOf<Types>;
pub(crate) type RaftEntry = openraft::type_config::alias::EntryOf<Types>;
pub(crate) type StoredMembership = openraft::type_config::alias::StoredMembershipOf<Types>;
pub(crate) type SnapshotMeta = openraft::type_config::alias::SnapshotMetaOf<Types>;
pub(crate) type RaftOf<SM> = openraft::Raft<Types, SM>;

/// Returns the settings that every group needs for its safety, with openraft's defaults for the rest.
pub(crate) fn safe_config() -> Config {
    Config {
        // A leader sends entries before its own disk has them. If it lost some with its power, it would write
        // other entries under the same term and index, and replicas would differ for ever.
        enable_leader_restore: Some(false),
        // The network asks (`peer/network.rs`), and each replica answers by its own rule (`election.rs`).
        enable_pre_vote: Some(true),
        ..Config::default()
    }
}

/// The first byte of a decision on an entry; commands begin with [`codec::VERSION`].
pub(crate) const DECISION_VERSION: u8 = 2;

/// A ledger entry in the bytes that the leader wrote. The bytes go unread through log and network, and each
/// replica decodes them once, when it applies the entry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct EntryBytes {
    bytes: Bytes,
    /// Trace context. Kept on the leader only, until the entry is in its log. It is not part of the entry.
    #[serde(skip)]
    pub(crate) trace: Option<Arc<EntryTrace>>,
}

impl PartialEq for EntryBytes {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for EntryBytes {}

impl EntryBytes {
    /// Joins encoded commands into an entry. The bytes are the same as those of [`codec::encode`] of
    /// [`Entry`].
    pub(crate) fn join<'a>(
        log_time_ms: u64,
        commands: impl ExactSizeIterator<Item = &'a EncodedCommand>,
    ) -> Result<Self, CodecError> {
        let head = (log_time_ms, commands.len() as u64);
        let mut bytes = postcard::to_extend(&head, vec![codec::VERSION]).map_err(CodecError::NotWritable)?;
        for command in commands {
            bytes.extend_from_slice(&command.bytes);
        }
        let bytes = Bytes::from(bytes);
        Ok(Self { bytes, trace: None })
    }

    /// Makes an entry of a [`Register`](crate::Register).
    pub(crate) fn opaque(bytes: Bytes) -> Self {
        Self { bytes, trace: None }
    }

    /// Makes a decision on another entry. Its first byte is a separate version, so a program that does not
    /// know decisions reads no commands from it.
    pub(crate) fn decision(decision: &EntryDecision) -> Result<Self, CodecError> {
        let bytes = postcard::to_extend(decision, vec![DECISION_VERSION]).map_err(CodecError::NotWritable)?;
        let bytes = Bytes::from(bytes);
        Ok(Self { bytes, trace: None })
    }

    /// Returns the decision that this entry is, if it is one. [`Self::read`] returns the error where this
    /// program cannot read the decision.
    pub(crate) fn read_decision(&self) -> Option<EntryDecision> {
        let (version, body) = self.bytes.split_first()?;
        if *version != DECISION_VERSION {
            return None;
        }
        let (decision, rest) = postcard::take_from_bytes(body).ok()?;
        rest.is_empty().then_some(decision)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn read(&self) -> Result<Entry, CodecError> {
        codec::decode(&self.bytes)
    }
}

impl fmt::Display for EntryBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry of {} bytes", self.bytes.len())
    }
}

/// Result of an entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Response {
    /// The entry was one of Raft's own.
    #[default]
    Nothing,
    /// Outcomes of a shard's commands, in their order.
    Outcomes(Vec<Outcome>),
    /// Answer of a [`Register`](crate::Register).
    Answer(Bytes),
}

/// A command and its bytes, encoded once where it was submitted.
#[derive(Debug)]
pub(crate) struct EncodedCommand {
    pub(crate) command: Command,
    pub(crate) bytes: Vec<u8>,
}

impl EncodedCommand {
    /// Encodes a command. The bytes are empty when it cannot be encoded, which does not happen to a command
    /// of valid types.
    pub(crate) fn new(command: Command) -> Self {
        let bytes = postcard::to_stdvec(&command).unwrap_or_default();
        Self { command, bytes }
    }
}

/// Runs `work` so that all random numbers of the replicas in it come from `seed`. With the feature
/// `simulation`, a replica runs only within this function.
#[cfg(feature = "simulation")]
pub fn seeded<F: Future>(seed: u64, work: F) -> impl Future<Output = F::Output> {
    Runtime::scope(seed, work)
}
