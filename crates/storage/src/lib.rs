//! What is on disk: write-ahead log, snapshots, change log.

mod change_log;
mod disk;
mod facts;
mod inspect;
mod log;
mod snapshot;

pub use change_log::{ChangeLog, ChangeLogError, ChangeLogOptions, ChangeLogReport, ChangeRecord};
pub use disk::{Disk, DiskError, DiskFile, FaultDisk, LOCK_FILE, RealDisk};
pub use facts::{Facts, FactsError, NodeFacts};
pub use inspect::{ChangeLogContents, GroupContents, LogContents, Report, SnapshotContents, inspect};
pub use log::{GroupState, Log, LogError, LogOptions, LogRecord, LogReport, Synced, TornTail, Writer};
pub use snapshot::{SnapshotError, SnapshotFile, SnapshotReader, SnapshotStore, SnapshotWriter};

/// Number of a Raft group on its node. The shard's number, for us.
pub type GroupId = u32;
