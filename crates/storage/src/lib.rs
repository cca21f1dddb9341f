//! Storage of a node: its files on disk, and how it reacts when the disk fails.
//!
//! ```text
//!  <data directory>/
//!    holdfast.lock                 held by the one process that works here
//!    log/0000000042.wal            the write-ahead log of all Raft groups, in segments
//!    log/synced.mark               how far it was synced
//!    snapshots/<group>/<n>.snap    the newest two snapshots of each group
//!    changes/<group>/<seq>.changes the change log of each group, in segments
//!    <where the node says>         facts about the node itself
//! ```
//!
//! # Parts
//! - [`Disk`] is the only view of a file system that the rest of the crate has. [`RealDisk`] is a directory,
//!   locked against a second process. [`FaultDisk`] is in memory. On demand it loses unsynced writes, tears
//!   writes, fails syncs, fills up and flips bits. Tests of other crates may use it too.
//! - [`Log`] is the first place of every acknowledged command. One thread writes for all groups: it takes
//!   everything in the queue, writes it with one call, syncs once, and calls all callbacks. Start with
//!   `log.rs`, then `log/core.rs` (the writer) and `log/recover.rs` (the difference between a torn tail and
//!   damage).
//! - [`SnapshotStore`] holds a group's state at one log position, so that the log before it can be purged.
//! - [`ChangeLog`] holds every change of the group's ledger, for ever. It follows from the log, so it is
//!   synced only when the log is about to be purged.
//! - [`NodeFacts`] holds the identity of the node, in sled. It is never on the path of a request.
//! - [`inspect()`] reads all files without changing any, and reports what is damaged.
//!
//! # Rules
//! - Nothing is acknowledged before it is synced. Only one place in the code acknowledges, right after the
//!   data sync.
//! - A failed write or sync is final: nobody knows what is on disk, and a second sync may succeed without the
//!   data. From then on the log refuses everything, and the node must stop. The mark beside the log is the
//!   one exception. If it cannot be written or synced, the log warns and goes on without new marks, because
//!   the last mark stays true.
//! - Bytes are checked on every read, before they are used. Each record's CRC-32 also covers the place where
//!   it was written, so neither a misplaced nor a left-over record passes.
//! - A torn tail (unsynced, so never acknowledged) is cut and reported. All other bytes that differ from
//!   those that were written are damage: an error names the file and the offset. A mark beside the log
//!   records how far it was synced. The mark is written before any callback, so damage in the last batch is
//!   recognised too. Only one case of damage looks like a torn tail: damage in the last batch,
//!   together with a power cut that loses the mark. The mark itself is synced at the next idle moment.
//! - A damaged change log is mended: lost changes become a gap, which the log or a peer fills.
//! - A syncing write changes no metadata: log segments are filled with zeros, or used again, before they are
//!   written.
//!
//! All calls block or return at once; none is async. The documentation of a call says so when it waits for
//! the disk. Such calls do not belong on a thread that carries heartbeats.

mod change_log;
mod disk;
mod facts;
mod file_error;
mod inspect;
mod log;
mod report;
mod snapshot;

pub use change_log::{ChangeLog, ChangeLogError, ChangeLogOptions, ChangeLogReport, ChangeRecord};
pub use disk::{Disk, DiskError, DiskFile, FaultDisk, LOCK_FILE, RealDisk};
pub use facts::{Facts, FactsError, NodeFacts};
pub use file_error::FileError;
pub use inspect::inspect;
pub use log::{
    GroupState, Log, LogError, LogOptions, LogRecord, LogReport, LogStats, SYNC_BUCKETS_US, Synced, TornTail,
    Writer, log_has_mark,
};
pub use report::{ChangeLogContents, GroupContents, LogContents, Report, SnapshotContents};
pub use snapshot::{SnapshotError, SnapshotFile, SnapshotReader, SnapshotStore, SnapshotWriter};

/// Number of a Raft group on its node. The node gives each replica that it ever has, of a shard or of the
/// directory, a number of its own.
pub type GroupId = u32;
