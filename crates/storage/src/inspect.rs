//! A read-only look at a data directory, for whoever wonders what is wrong with a node.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::disk::{Disk, DiskError, RealDisk};
use crate::{GroupId, change_log, log, snapshot};

/// What a data directory holds, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// A node works in the directory now; what it is just writing may look like a torn tail.
    pub in_use: bool,
    /// The write-ahead log; `None` when it cannot be read, and then `damage` says why.
    pub log: Option<LogContents>,
    /// Snapshots, oldest first in each group.
    pub snapshots: Vec<SnapshotContents>,
    /// Change logs, by group.
    pub change_logs: Vec<ChangeLogContents>,
    /// What a crash left unfinished. Harmless: it was never acknowledged and goes away at the next start.
    pub torn: Vec<String>,
    /// Bytes that are not what was written. Each line names a file.
    pub damage: Vec<String>,
}

/// What the write-ahead log holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LogContents {
    /// Segment files with records.
    pub segments: usize,
    /// Valid records of any kind.
    pub records: u64,
    /// Their bytes, framing included.
    pub bytes: u64,
    /// The groups' logs.
    pub groups: Vec<GroupContents>,
}

/// One group's part of the write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupContents {
    /// The group.
    pub group: GroupId,
    /// First entry, if there is any.
    pub first_index: Option<u64>,
    /// Last entry, if there is any.
    pub last_index: Option<u64>,
    /// Everything up to here was purged.
    pub purged_through: Option<u64>,
}

/// One snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SnapshotContents {
    /// The group.
    pub group: GroupId,
    /// Its number.
    pub number: u64,
    /// Content that could be read and was right, in bytes.
    pub bytes: u64,
}

/// One group's change log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeLogContents {
    /// The group.
    pub group: GroupId,
    /// Segment files.
    pub segments: usize,
    /// Valid records.
    pub records: u64,
    /// Size of all segments in bytes.
    pub bytes: u64,
    /// First change on this replica; 0 when there is none.
    pub first_seq: u64,
    /// Last change on this replica; 0 when there is none.
    pub last_seq: u64,
    /// Ranges `(first missing, first there again)` that a snapshot from a peer skipped.
    pub gaps: Vec<(u64, u64)>,
}

/// Reads everything in a data directory and checks it, without changing anything. Works beside a running node.
///
/// # Errors
/// When the directory itself cannot be read. Everything else is in the report.
pub fn inspect(directory: &Path) -> Result<Report, DiskError> {
    let disk = RealDisk::open_read_only(directory)?;
    let in_use = disk.in_use();
    Ok(Report { in_use, ..inspect_disk(Arc::new(disk)) })
}

/// As [`inspect`], for any disk.
pub(crate) fn inspect_disk(disk: Arc<dyn Disk>) -> Report {
    let mut report = Report::default();
    log::inspect(&*disk, &mut report);
    for group in groups(&*disk, snapshot::DIRECTORY, &mut report) {
        snapshot::inspect(&*disk, group, &mut report);
    }
    for group in groups(&*disk, change_log::DIRECTORY, &mut report) {
        change_log::inspect(&*disk, group, &mut report);
    }
    report
}

fn groups(disk: &dyn Disk, directory: &str, report: &mut Report) -> Vec<GroupId> {
    match disk.list(directory) {
        Ok(names) => {
            let mut groups: Vec<GroupId> = names.iter().filter_map(|name| name.parse().ok()).collect();
            groups.sort_unstable();
            groups
        }
        Err(error) => {
            report.damage.push(format!("cannot list {directory}: {error}"));
            Vec::new()
        }
    }
}
