//! The abilities of every sink: it says how far it is, and takes the changes after that.

use async_trait::async_trait;
use holdfast_api::v1::Change;
use holdfast_changes::cursor::SequenceError;
use holdfast_client::{ClientError, is_retryable};
use uuid::Uuid;

/// A place in the stream of one shard: everything up to it is in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The last change that the target has; 0 when it has none.
    pub through_seq: u64,
    /// The log time of that change in milliseconds since the Unix epoch; 0 when the target does not keep it.
    pub log_time_ms: u64,
}

/// A target of changes outside the cluster.
///
/// A sink keeps no state in this process. Its position is in the target, and moves there in the same atomic
/// step as the data. So a runner may be killed, doubled and moved at any time.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Returns the place from which others can read the changes again, such as that of an archive. None: the
    /// target is none. It has no secrets.
    fn location(&self) -> Option<String> {
        None
    }

    /// Reads how far the target is in a shard, without disturbing another runner that writes to it.
    ///
    /// # Errors
    /// [`SinkError`]: the target cannot be asked.
    async fn position(&self, shard: u32) -> Result<Position, SinkError>;

    /// Begins to write the changes of a shard, and returns the writer. Where the target can have only one
    /// writer, an older one is shut out ([`SinkError::TakenOver`]).
    ///
    /// # Errors
    /// [`SinkError`]: the target cannot be written to, or has the changes of another cluster.
    async fn open(&self, shard: u32) -> Result<Box<dyn Writer>, SinkError>;
}

/// Writes the changes of one shard into a target, in order. After an error a writer is not used again: the
/// runner opens a new one, which begins after what the target really has.
#[async_trait]
pub trait Writer: Send {
    /// Returns the position of the target when the writer was opened. The stream is read from the next
    /// change on.
    fn opened_at(&self) -> Position;

    /// Takes the next changes: whole entries, in order, each once. When it returns, they may still be on
    /// their way. It waits while too many are.
    ///
    /// # Errors
    /// [`SinkError`]: some of these changes, or of those before, did not arrive.
    async fn write(&mut self, changes: &[Change]) -> Result<(), SinkError>;

    /// Brings what was written closer to the target, and returns what the target durably has. The runner
    /// calls it after each write, and at least once a second.
    ///
    /// # Errors
    /// The same as of [`Writer::write`].
    async fn settle(&mut self) -> Result<Position, SinkError>;

    /// Tells the target that it has everything that the cluster had at a moment, in milliseconds since the
    /// Unix epoch. Called about once a second while nothing is missing, so readers can know how old the
    /// target's data is while nothing changes.
    ///
    /// # Errors
    /// The same as of [`Writer::write`].
    async fn current(&mut self, _at_ms: u64) -> Result<(), SinkError> {
        Ok(())
    }

    /// Brings everything that was written into the target, and returns its position. The runner calls it
    /// before it stops.
    ///
    /// # Errors
    /// The same as of [`Writer::write`].
    async fn finish(&mut self) -> Result<Position, SinkError> {
        self.settle().await
    }
}

/// Changes could not be brought into a target. Nothing is ever skipped: the runner goes on from the target's
/// position, or waits for a person.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The target cannot be reached, is too busy, or failed in a way that passes. Tried again soon.
    #[error("{what}")]
    Unavailable {
        /// The attempt, and the target's answer.
        what: String,
        /// The least time to wait before the next try, in milliseconds; 0 when the target did not say.
        retry_after_ms: u64,
    },
    /// The target says no: a person must do something. Tried again seldom.
    #[error("{what}: {advice}")]
    Refused {
        /// The attempt, and the target's answer.
        what: String,
        /// Advice for a person.
        advice: String,
    },
    /// Another runner writes to this shard.
    #[error("another runner writes to it: {what}")]
    TakenOver {
        /// How it was noticed.
        what: String,
    },
    /// The target is not where this writer thought. The runner opens a new writer.
    #[error("the target is at change {through_seq}, not at {expected_seq}")]
    Moved {
        /// The last change that the target has.
        through_seq: u64,
        /// The last change that the writer thought it has.
        expected_seq: u64,
    },
    /// The target has the changes of another cluster.
    #[error(
        "it has the changes of cluster {target}, this is cluster {cluster}: give this cluster a place of its \
         own, or rebuild"
    )]
    OtherCluster {
        /// The cluster of the changes in the target.
        target: Uuid,
        /// The cluster that is read.
        cluster: Uuid,
    },
    /// The target has more changes than the cluster.
    #[error(
        "the target has changes of shard {shard} up to {through_seq}, the cluster ends with {last_seq}: the \
         cluster has lost changes, or the target belongs to another one"
    )]
    AheadOfCluster {
        /// The shard.
        shard: u32,
        /// The last change that the target has.
        through_seq: u64,
        /// The last change of the cluster.
        last_seq: u64,
    },
    /// A change cannot be written in the way of this target. It is not skipped.
    #[error("change {seq} of shard {shard} cannot be written: {what}")]
    Unwritable {
        /// The shard.
        shard: u32,
        /// The change.
        seq: u64,
        /// The reason.
        what: String,
    },
    /// The changes cannot be read from the cluster.
    #[error("the change stream cannot be read: {0}")]
    Stream(#[from] ClientError),
    /// The stream has a gap or a broken entry.
    #[error("the change stream of the cluster is broken: {0}")]
    Gap(#[from] SequenceError),
}

impl SinkError {
    /// Returns whether a person must act. Other errors pass by themselves.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Refused { .. }
            | Self::OtherCluster { .. }
            | Self::AheadOfCluster { .. }
            | Self::Unwritable { .. }
            | Self::Gap(_) => true,
            Self::Unavailable { .. } | Self::TakenOver { .. } | Self::Moved { .. } => false,
            Self::Stream(error) => match error {
                ClientError::Refused(refusal) => !is_retryable(refusal.reason()),
                ClientError::Unavailable { .. } | ClientError::Unknown { .. } => false,
                ClientError::Options(_) | ClientError::Untrusted { .. } | ClientError::Unexpected { .. } => {
                    true
                }
            },
        }
    }
}
