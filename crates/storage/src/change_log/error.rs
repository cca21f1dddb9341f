//! Errors of a change log.

use crate::FileError;

/// Reason why a call to the change log failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeLogError {
    /// A file could not be read or written. After a failed write or sync the change log takes no more.
    #[error(transparent)]
    File(#[from] FileError),
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
    /// The change was dropped, because it is older than the history that is kept.
    #[error("the changes before {begins_at} were dropped")]
    Dropped {
        /// First sequence number that was not dropped.
        begins_at: u64,
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
    /// Returns whether bytes on disk differ from those that were written.
    pub fn is_damage(&self) -> bool {
        matches!(self, ChangeLogError::File(error) if error.is_damage())
    }

    pub(super) fn corrupt(file: &str, offset: u64, what: &str) -> ChangeLogError {
        ChangeLogError::File(FileError::Corrupt {
            file: file.to_string(),
            offset,
            what: what.to_string(),
        })
    }
}
