//! What a node keeps on disk, and what it does when the disk fails it.
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
//! - [`Disk`] is all the rest of the crate knows of a file system. [`RealDisk`] is a directory, locked against a second process.
//!   [`FaultDisk`] is in memory and loses what was not synced, tears writes, fails syncs, fills up and flips bits on demand; tests of
//!   other crates may use it too.
//! - [`Log`] is where every acknowledged command is first. One thread writes for all groups: it takes all that is queued, writes it
//!   with one call, syncs once, and calls everybody back. Start with `log.rs`, then `log/core.rs` (the writer) and
//!   `log/recover.rs` (what is a torn tail and what is damage).
//! - [`SnapshotStore`] holds a group's state at one log position, so that the log before it can be purged.
//! - [`ChangeLog`] holds what the group's ledger did, for ever. It is derived from the log and only synced before the log is purged.
//! - [`NodeFacts`] holds who the node is, in sled; never on the path of a request.
//! - [`inspect`] reads all of it without changing anything and says what is damaged.
//!
//! # Rules
//! - Nothing is acknowledged before the data sync that covers it. The only place that says so is right after that sync.
//! - A failed write or sync is final: after it nobody knows what is on disk, and a second sync may succeed without the data. The log
//!   refuses everything from then on and the node must stop.
//! - Whatever is read was checked first, on every read. Each record's CRC-32 also covers where it was written, so neither a
//!   misplaced nor a left-over record passes.
//! - A torn tail (unsynced, so never acknowledged) is cut and reported. Anything else that is not what was written is damage: an
//!   error with file and offset. A mark beside the log says how far it was synced, and is written before anybody is told, so the
//!   last batch is told apart too. Only a power cut that loses the mark, which is itself synced at the next idle moment, together
//!   with damage in that one batch looks like a torn tail.
//! - A damaged change log is mended: what is lost becomes a gap, which the log or a peer fills.
//! - A syncing write changes no metadata: log segments are filled with zeros, or used again, before they are written.
//!
//! All calls block or return at once; none is async. Calls that wait for the disk say so and do not belong on a thread that
//! carries heartbeats.

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
pub use log::{
    GroupState, Log, LogError, LogOptions, LogRecord, LogReport, LogStats, SYNC_BUCKETS_US, Synced, TornTail,
    Writer, log_has_mark,
};
pub use snapshot::{SnapshotError, SnapshotFile, SnapshotReader, SnapshotStore, SnapshotWriter};

/// Number of a Raft group on its node: the number of its shard.
pub type GroupId = u32;
