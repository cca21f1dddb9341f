//! The change log of one group.
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Disk, GroupId, TornTail};

/// The changes of one log entry, delivered together or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Sequence number of the first change.
    pub first_seq: u64,
    /// Sequence number of the last change.
    pub last_seq: u64,
    /// Index of the log entry that made them.
    pub log_index: u64,
    /// The changes, opaque here.
    pub payload: Bytes,
}

/// Settings of a [`ChangeLog`].
#[derive(Debug, Clone)]
pub struct ChangeLogOptions {
    /// Size in bytes after which the next segment begins. Default 64 MiB.
    pub segment_bytes: u32,
    /// Largest payload of one record in bytes. Default 16 MiB.
    pub max_record_bytes: u32,
    /// Distance in bytes between two points of the index. Default 64 KiB.
    pub index_every_bytes: u32,
}

impl Default for ChangeLogOptions {
    fn default() -> Self {
        ChangeLogOptions { segment_bytes: 64 << 20, max_record_bytes: 16 << 20, index_every_bytes: 64 << 10 }
    }
}

/// What opening a change log found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeLogReport {
    /// Segment files.
    pub segments: usize,
    /// The unfinished end that a crash left; it is derived again from the log.
    pub torn: Option<TornTail>,
}

/// Why a change log did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChangeLogError {
    /// The operating system refused. After a failed write or sync the change log takes no more.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file, relative to the data directory.
        file: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Bytes are not what was written; never served.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Offset in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Written by another version.
    #[error("{file} has format version {found}, this program reads version {supported}; use the program that wrote it")]
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
        /// What must come next.
        expected: u64,
        /// What came.
        first_seq: u64,
    },
    /// A record at or below the end differs from what is stored: this replica has diverged.
    #[error("changes {first_seq}..={last_seq} differ from what is stored under these numbers")]
    Diverged {
        /// First sequence number.
        first_seq: u64,
        /// Last sequence number.
        last_seq: u64,
    },
    /// This replica does not have these changes; a peer does.
    #[error("changes {missing_from}..{next_seq} are not on this replica")]
    Gap {
        /// First sequence number that is missing.
        missing_from: u64,
        /// First sequence number that is there again.
        next_seq: u64,
    },
    /// A record over the limit.
    #[error("a change record of {bytes} bytes is over the limit of {limit_bytes}")]
    RecordTooLarge {
        /// Payload size in bytes.
        bytes: usize,
        /// Largest payload in bytes.
        limit_bytes: usize,
    },
}

/// The change log of one group; a cheap handle.
#[derive(Clone)]
pub struct ChangeLog {}

#[allow(unused_variables, missing_docs)]
impl ChangeLog {
    pub fn open(
        disk: Arc<dyn Disk>,
        group: GroupId,
        options: ChangeLogOptions,
    ) -> Result<(ChangeLog, ChangeLogReport), ChangeLogError> {
        Ok((ChangeLog {}, ChangeLogReport::default()))
    }
    pub fn append(&self, record: ChangeRecord) -> Result<(), ChangeLogError> {
        Ok(())
    }
    pub fn read(&self, from_seq: u64, max_bytes: usize) -> Result<Vec<ChangeRecord>, ChangeLogError> {
        Ok(Vec::new())
    }
    pub fn first_seq(&self) -> u64 {
        1
    }
    pub fn last_seq(&self) -> u64 {
        0
    }
    pub fn sync(&self) -> Result<(), ChangeLogError> {
        Ok(())
    }
    pub fn reset_to(&self, next_seq: u64) -> Result<(), ChangeLogError> {
        Ok(())
    }
}
