//! The report of an inspection.

use serde::Serialize;

use crate::GroupId;

/// Content of a data directory, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether a node works in the directory. If so, a write in progress may look like a torn tail.
    pub in_use: bool,
    /// The write-ahead log; `None` when it cannot be read, and then `damage` has the reason.
    pub log: Option<LogContents>,
    /// Snapshots, oldest first in each group.
    pub snapshots: Vec<SnapshotContents>,
    /// Change logs, by group.
    pub change_logs: Vec<ChangeLogContents>,
    /// Torn ends that a crash left unfinished. They are harmless: never acknowledged, and removed at the next
    /// start.
    pub torn: Vec<String>,
    /// Damage: bytes that differ from those that were written. Each line names a file.
    pub damage: Vec<String>,
}

/// Content of the write-ahead log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogContents {
    /// Number of segment files with records.
    pub segments: usize,
    /// Number of valid records of any kind.
    pub records: u64,
    /// Bytes of those records, framing included.
    pub bytes: u64,
    /// Logs of the groups.
    pub groups: Vec<GroupContents>,
}

/// One group's part of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupContents {
    /// Number of the group.
    pub group: GroupId,
    /// First entry, if there is any.
    pub first_index: Option<u64>,
    /// Last entry, if there is any.
    pub last_index: Option<u64>,
    /// The entries through this index were purged.
    pub purged_through: Option<u64>,
}

/// One snapshot of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotContents {
    /// Number of the group.
    pub group: GroupId,
    /// Number of the snapshot.
    pub number: u64,
    /// Bytes of content that could be read and were intact.
    pub bytes: u64,
}

/// Change log of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeLogContents {
    /// Number of the group.
    pub group: GroupId,
    /// Number of segment files.
    pub segments: usize,
    /// Number of valid records.
    pub records: u64,
    /// Size of all segments in bytes.
    pub bytes: u64,
    /// First change that was not dropped; 1 when none was.
    pub begins_at: u64,
    /// First change on this replica; 0 when there is none.
    pub first_seq: u64,
    /// Last change on this replica; 0 when there is none.
    pub last_seq: u64,
    /// Ranges `(first missing, first after the gap)` that a snapshot from a peer skipped.
    pub gaps: Vec<(u64, u64)>,
}
