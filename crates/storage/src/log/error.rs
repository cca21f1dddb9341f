//! Errors of the write-ahead log.

use std::io;
use std::sync::Arc;

use crate::{FileError, GroupId};

fn advice(error: &FileError) -> &'static str {
    match error {
        FileError::Corrupt { .. } => {
            "; if the other nodes can do without this node's data, they replace it when the node starts; otherwise see cluster/runbooks/damaged-data.md"
        }
        FileError::Io { .. } | FileError::UnknownVersion { .. } => "",
    }
}

/// Reason why a call to [`Log`](crate::Log) failed.
///
/// The error can be cloned, because one failed sync is reported to all callers that waited for it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// A write or sync failed. It is never retried: after a failed sync nobody knows what is on disk. Every
    /// later call gets the same error, and the node must stop.
    #[error("the write-ahead log has failed and the node must stop: {operation} of {file}: {source}")]
    Failed {
        /// The operation that failed: `write`, `sync`, ...
        operation: &'static str,
        /// The file, relative to the data directory.
        file: String,
        /// Error of the operating system.
        source: Arc<io::Error>,
    },

    /// A file could not be read or prepared. The call changed nothing.
    #[error("{error}{advice}", error = .0, advice = advice(.0))]
    File(#[from] FileError),

    /// The appended records do not continue the group's log.
    #[error(
        "group {group}: the next index is {expected}, not {index}; to overwrite entries, truncate the log first"
    )]
    NotContiguous {
        /// Number of the group.
        group: GroupId,
        /// The index that must come next.
        expected: u64,
        /// The index that came.
        index: u64,
    },

    /// The range was purged, or contains purged indexes.
    #[error("group {group}: index {index} was purged, as were all up to {purged_through}")]
    Purged {
        /// Number of the group.
        group: GroupId,
        /// The index that the caller asked for.
        index: u64,
        /// The entries through this index were purged.
        purged_through: u64,
    },

    /// A record does not fit into a segment.
    #[error("a record has {bytes} bytes, at most {limit_bytes} are allowed")]
    RecordTooLarge {
        /// Payload size in bytes.
        bytes: usize,
        /// Largest payload in bytes.
        limit_bytes: usize,
    },

    /// The options are out of range, or do not fit together.
    #[error("the options of the log are wrong: {0}")]
    BadOptions(String),

    /// The log was closed.
    #[error("the write-ahead log is closed")]
    Closed,
}

impl LogError {
    pub(super) fn io(operation: &'static str, file: String, source: io::Error) -> LogError {
        LogError::File(FileError::Io {
            operation,
            file,
            source: Arc::new(source),
        })
    }

    /// Returns whether bytes on disk differ from those that were written.
    pub fn is_damage(&self) -> bool {
        matches!(self, LogError::File(error) if error.is_damage())
    }

    pub(super) fn failed(operation: &'static str, file: String, source: io::Error) -> LogError {
        LogError::Failed {
            operation,
            file,
            source: Arc::new(source),
        }
    }
}
