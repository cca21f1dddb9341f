//! Errors of a change log.

use std::io;
use std::sync::Arc;

/// Reason why a call to the change log failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeLogError {
    /// The operating system refused. After a failed write or sync the change log takes no more.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// The operation that failed.
        operation: &'static str,
        /// The file, relative to the data directory.
        file: String,
        /// Error of the operating system.
        source: Arc<io::Error>,
    },
    /// Bytes differ from those that were written. They are never served.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Offset in bytes.
        offset: u64,
        /// Description of the damage.
        what: String,
    },
    /// The file was written by another version of this program.
    #[error(
        "{file} has format version {found}, and this program reads version {supported}; use the program that wrote the file"
    )]
    UnknownVersion {
        /// The file, relative to the data directory.
        file: String,
        /// The version in the file.
        found: u32,
        /// The version this program reads.
        supported: u32,
    },
    /// A record does not continue the sequence.
    #[error("the next change has sequence number {expected}, not {first_seq}")]
    NotContiguous {
        /// The sequence number that must come next.
        expected: u64,
        /// The sequence number that came.
        first_seq: u64,
    },
    /// A record at or below the end differs from the stored one: this replica has diverged.
    #[error("changes {first_seq}..={last_seq} differ from what is stored under these numbers")]
    Diverged {
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
    },
    /// This replica does not have these changes, but a peer does.
    #[error("changes {missing_from}..{next_seq} are not on this replica")]
    Gap {
        /// First sequence number that is missing.
        missing_from: u64,
        /// First sequence number after the gap.
        next_seq: u64,
    },
    /// A record is over the limit.
    #[error("a record of changes has {bytes} bytes, at most {limit_bytes} are allowed")]
    RecordTooLarge {
        /// Payload size in bytes.
        bytes: usize,
        /// Largest payload in bytes.
        limit_bytes: usize,
    },
}

impl ChangeLogError {
    pub(super) fn io(operation: &'static str, file: &str) -> impl FnOnce(io::Error) -> ChangeLogError {
        let file = file.to_string();
        move |source| ChangeLogError::Io {
            operation,
            file,
            source: Arc::new(source),
        }
    }

    pub(super) fn corrupt(file: &str, offset: u64, what: &str) -> ChangeLogError {
        ChangeLogError::Corrupt {
            file: file.to_string(),
            offset,
            what: what.to_string(),
        }
    }
}
