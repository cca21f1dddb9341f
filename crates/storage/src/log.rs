//! The write-ahead log.
mod error;
mod options;

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

pub use error::LogError;
pub use options::{LogOptions, LogReport, TornTail, Writer};

use crate::{Disk, GroupId};

/// Called once: with `Ok` right after the data sync that made the call's records durable, or with the error.
pub type Synced = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// One entry of a group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Position in the group's log.
    pub index: u64,
    /// The entry, opaque here.
    pub payload: Bytes,
}

/// What the log holds for one group right now, durable or not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// First readable index; `None` when there are no entries.
    pub first_index: Option<u64>,
    /// Last readable index; `None` when there are no entries.
    pub last_index: Option<u64>,
    /// Everything up to here was purged.
    pub purged_through: Option<u64>,
    /// What the caller gave with the last purge.
    pub purge_marker: Option<Bytes>,
    /// The last saved vote.
    pub vote: Option<Bytes>,
    /// The last saved commit position.
    pub committed: Option<Bytes>,
}

/// The node's write-ahead log; a cheap handle.
#[derive(Clone)]
pub struct Log {}

#[allow(unused_variables, missing_docs)]
impl Log {
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, LogReport), LogError> {
        Err(LogError::Closed)
    }
    pub fn append(&self, group: GroupId, records: Vec<LogRecord>, synced: Synced) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
    pub fn truncate_from(&self, group: GroupId, index: u64, synced: Synced) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
    pub fn purge_through(&self, group: GroupId, index: u64, marker: Bytes, synced: Synced) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
    pub fn save_vote(&self, group: GroupId, vote: Bytes, synced: Synced) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
    pub fn save_committed(&self, group: GroupId, committed: Bytes) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
    pub fn read(&self, group: GroupId, range: Range<u64>, max_bytes: usize) -> Result<Vec<LogRecord>, LogError> {
        Err(LogError::Closed)
    }
    pub fn state(&self, group: GroupId) -> GroupState {
        GroupState::default()
    }
    pub fn failed(&self) -> Option<LogError> {
        None
    }
    /// Calls back once when the log fails (at once if it has).
    pub fn on_failure(&self, notify: Box<dyn FnOnce(LogError) + Send>) {}
    pub fn drain(&self) {}
    pub fn close(self) -> Result<(), LogError> {
        Err(LogError::Closed)
    }
}
