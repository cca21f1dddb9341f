//! Write-ahead log of the node, shared by all its Raft groups.
//!
//! ```text
//!  append ─> group in memory (readable) ─> queue ─┐
//!  append ─> group in memory (readable) ─> queue ─┼─> writer: takes all ─> 1 write ─> 1 sync ─> callbacks
//!  vote   ─> group in memory            ─> queue ─┘
//! ```
//!
//! Calls that come while a sync runs share the next one. A record is acknowledged only by the callback right
//! after the sync that covers it. After a failed write or sync nothing is acknowledged ever again.

mod core;
mod error;
mod group;
mod mark;
mod options;
mod preparer;
mod reclaim;
mod record;
mod recover;
mod repair;
mod run;
mod segment;
mod shared;
mod stats;

use std::ops::Range;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use bytes::Bytes;
use parking_lot::Mutex;

use self::core::{Core, Start};
use self::group::Found;
use self::preparer::Preparer;
use self::record::{Header, RecordAddress};
use self::run::{finish, write_batch, write_until_closed};
use self::shared::{Request, Shared, Write};
pub use error::LogError;
pub use options::{LogOptions, LogReport, TornTail, Writer};
pub use stats::{LogStats, SYNC_BUCKETS_US};

use crate::{Disk, DiskFile, FileError, GroupContents, GroupId, LogContents, Report};

/// Directory of the segments, below the data directory.
const DIRECTORY: &str = "log";

/// Largest vote, commit position or purge marker in bytes. They are repeated in every segment.
const MAX_MARKER_BYTES: usize = 1024;

/// Callback of a write. It runs once: with `Ok` right after the data sync that made the call's records
/// durable, or with the error.
///
/// It runs on the writer thread and delays the next sync of all callers, so it must hand over its work and
/// return. It may call the log.
pub type Synced = Box<dyn FnOnce(Result<(), LogError>) + Send>;

/// One entry of a group's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// Position of the entry in the group's log.
    pub index: u64,
    /// The entry, opaque in this crate. At most `max_record_bytes`.
    pub payload: Bytes,
}

/// State of one group's log, whether durable or not yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupState {
    /// First readable index; `None` when there are no entries.
    pub first_index: Option<u64>,
    /// Last readable index; `None` when there are no entries.
    pub last_index: Option<u64>,
    /// The entries through this index were purged. It may be past the last entry that was ever here (after a
    /// snapshot).
    pub purged_through: Option<u64>,
    /// The marker that the caller gave with the last purge.
    pub purge_marker: Option<Bytes>,
    /// The last saved vote.
    pub vote: Option<Bytes>,
    /// The last saved commit position. After a crash it may be older than the saved one, but never newer than
    /// the entries.
    pub committed: Option<Bytes>,
}

/// A handle to the node's write-ahead log; clones share it.
///
/// Calls return at once and never wait for the disk, except [`Log::read`] of entries that are no longer in
/// memory. The callers limit the length of the queue: a Raft group bounds its entries in flight.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    max_record_bytes: usize,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The writer, when it has no thread.
    core: Mutex<Option<Core>>,
}

impl Log {
    /// Opens the log on `disk`, checks every record, cuts a torn tail and gets ready to write.
    ///
    /// # Errors
    /// `Corrupt` names the file and offset of damage, and leaves the log unchanged. `UnknownVersion`,
    /// `BadOptions` and `Io`.
    pub fn open(disk: Arc<dyn Disk>, options: LogOptions) -> Result<(Log, LogReport), LogError> {
        options.check()?;
        let in_directory = |operation| move |error| LogError::io(operation, DIRECTORY.to_string(), error);
        disk.create_dir(DIRECTORY).map_err(in_directory("create"))?;
        let found = recover::recover(&*disk, options.cache_bytes_per_group, options.expects_mark)?;
        recover::remove_useless(&*disk, &found.useless).map_err(in_directory("clean"))?;

        repair::rewrite_unproven(&found)?;
        let shared = Arc::new(Shared::default());
        *shared.files.write() = found.files;
        let groups = found
            .groups
            .into_iter()
            .map(|(id, group)| (id, Arc::new(Mutex::new(group))));
        *shared.groups.write() = groups.collect();

        let start = match found.open_end {
            Some(offset) => {
                let segment = found.last_segment;
                let path = segment::path(segment);
                let file = disk
                    .open(&path)
                    .map_err(|error| LogError::io("open", path.clone(), error))?;
                repair::clear(&*file, offset, found.clear_bytes)
                    .map_err(|error| LogError::io("repair", path, error))?;
                Start::Continue {
                    segment,
                    file,
                    offset,
                }
            }
            None => Start::New {
                segment: found.last_segment + 1,
            },
        };
        if let Some(torn) = &found.report.torn {
            tracing::warn!(
                file = torn.file,
                offset = torn.offset,
                bytes = torn.bytes,
                "the torn end of the log was cut off"
            );
        }
        let threaded = options.writer == Writer::Thread;
        let preparer =
            Preparer::new(disk.clone(), options.segment_bytes, threaded).map_err(in_directory("prepare"))?;
        let max_record_bytes = options.max_record_bytes as usize;
        let core = Core::start(disk, options, shared.clone(), preparer, start)?;
        let mut report = found.report;
        report.is_marked = core.is_marked();

        let inner = Inner {
            shared,
            max_record_bytes,
            thread: Mutex::new(None),
            core: Mutex::new(None),
        };
        if threaded {
            let shared = inner.shared.clone();
            let thread = thread::Builder::new().name("log-writer".to_string());
            let thread = thread
                .spawn(move || write_until_closed(core, &shared))
                .map_err(in_directory("write"))?;
            *inner.thread.lock() = Some(thread);
        } else {
            *inner.core.lock() = Some(core);
        }
        Ok((
            Log {
                inner: Arc::new(inner),
            },
            report,
        ))
    }

    /// Appends entries that continue the group's log. They are readable when this returns and durable when
    /// `synced` is called.
    ///
    /// The first entry of a group may have any index; later ones follow the last entry, or the last purged
    /// one.
    ///
    /// # Errors
    /// `NotContiguous`, `RecordTooLarge`, `Closed`, or the log's failure. Then nothing was queued and
    /// `synced` is not called.
    pub fn append(&self, group: GroupId, records: Vec<LogRecord>, synced: Synced) -> Result<(), LogError> {
        for record in &records {
            check_size(record.payload.len(), self.inner.max_record_bytes)?;
        }
        let memory = self.inner.shared.group(group);
        let mut state = memory.lock();
        state.check_append(group, &records)?;
        let mut queue = self.inner.shared.queue.lock();
        queue.check_open()?;
        let ticket = queue.next_ticket;
        queue.next_ticket += 1;
        state.append(ticket, &records);
        let write = Write::Append { ticket, records };
        queue.requests.push(Request {
            group,
            memory: memory.clone(),
            write,
            synced: Some(synced),
        });
        drop(queue);
        self.inner.shared.wake.notify_one();
        Ok(())
    }

    /// Removes the entries from `index` on. They are unreadable when this returns.
    ///
    /// # Errors
    /// `Purged` if `index` was purged, `Closed`, or the log's failure. Then nothing was queued and `synced`
    /// is not called.
    pub fn truncate_from(&self, group: GroupId, index: u64, synced: Synced) -> Result<(), LogError> {
        let memory = self.inner.shared.group(group);
        let mut state = memory.lock();
        state.check_not_purged(group, index)?;
        self.push(group, &memory, Write::Truncate { index }, synced)?;
        state.truncate_from(index);
        Ok(())
    }

    /// Removes the entries through `index`, which may be past the last one. [`GroupState::purge_marker`]
    /// returns `marker` (at most 1024 bytes). Does nothing when the entries through `index` are purged
    /// already.
    ///
    /// # Errors
    /// `RecordTooLarge`, `Closed`, or the log's failure. Then nothing was queued and `synced` is not called.
    pub fn purge_through(
        &self,
        group: GroupId,
        index: u64,
        marker: Bytes,
        synced: Synced,
    ) -> Result<(), LogError> {
        check_size(marker.len(), MAX_MARKER_BYTES)?;
        let memory = self.inner.shared.group(group);
        let mut state = memory.lock();
        self.push(
            group,
            &memory,
            Write::Purge {
                index,
                marker: marker.clone(),
            },
            synced,
        )?;
        state.purge_through(index, marker);
        Ok(())
    }

    /// Saves the group's vote (at most 1024 bytes).
    ///
    /// # Errors
    /// `RecordTooLarge`, `Closed`, or the log's failure. Then nothing was queued and `synced` is not called.
    pub fn save_vote(&self, group: GroupId, vote: Bytes, synced: Synced) -> Result<(), LogError> {
        check_size(vote.len(), MAX_MARKER_BYTES)?;
        let memory = self.inner.shared.group(group);
        let mut state = memory.lock();
        self.push(group, &memory, Write::Vote(vote.clone()), synced)?;
        state.vote = Some(vote);
        Ok(())
    }

    /// Returns the counts of writes and syncs since the log was opened.
    pub fn stats(&self) -> LogStats {
        self.inner.shared.counters.read()
    }

    /// Saves the group's commit position (at most 1024 bytes). It becomes durable with the next sync,
    /// whenever that is.
    ///
    /// # Errors
    /// `RecordTooLarge`, `Closed`, or the log's failure.
    pub fn save_committed(&self, group: GroupId, committed: Bytes) -> Result<(), LogError> {
        check_size(committed.len(), MAX_MARKER_BYTES)?;
        let memory = self.inner.shared.group(group);
        let mut state = memory.lock();
        let mut queue = self.inner.shared.queue.lock();
        queue.check_open()?;
        queue.committed.insert(group, committed.clone());
        state.committed = Some(committed);
        Ok(())
    }

    fn push(
        &self,
        group: GroupId,
        memory: &Arc<Mutex<group::Group>>,
        write: Write,
        synced: Synced,
    ) -> Result<(), LogError> {
        let mut queue = self.inner.shared.queue.lock();
        queue.check_open()?;
        queue.requests.push(Request {
            group,
            memory: memory.clone(),
            write,
            synced: Some(synced),
        });
        drop(queue);
        self.inner.shared.wake.notify_one();
        Ok(())
    }

    /// Returns the entries of `range` in order: at least one if it is there, and otherwise no more than
    /// `max_bytes` of payload. Indexes past the last entry are left out.
    ///
    /// # Errors
    /// `Purged` if the range begins with a purged index; `Corrupt` if a record on disk differs from the one
    /// that was written; the log's failure.
    pub fn read(
        &self,
        group: GroupId,
        range: Range<u64>,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, LogError> {
        if let Some(failure) = self.failed() {
            return Err(failure);
        }
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let memory = self.inner.shared.group(group);
        loop {
            let found = {
                let state = memory.lock();
                state.check_not_purged(group, range.start)?;
                state.find(range.clone(), max_bytes)
            };
            let mut records = Vec::with_capacity(found.len());
            let mut overtaken = false;
            for found in found {
                let (index, payload_bytes, place) = match found {
                    Found::InMemory(record) => {
                        records.push(record);
                        continue;
                    }
                    Found::OnDisk {
                        index,
                        payload_bytes,
                        place,
                    } => (index, payload_bytes, place),
                };
                let file = self.inner.shared.files.read().get(&place.segment).cloned();
                let payload = file.map(|file| read_payload(&*file, place, payload_bytes));
                match payload {
                    Some(Ok(payload)) => records.push(LogRecord { index, payload }),
                    // Since the address of the record was looked up, its segment may have been given up, or
                    // used again.
                    failed
                        if memory.lock().entries.get(&index).and_then(|entry| entry.place) == Some(place) =>
                    {
                        let what = format!("entry {index} of group {group} is in no segment");
                        let file = segment::path(place.segment);
                        let missing = LogError::File(FileError::Corrupt {
                            file,
                            offset: u64::from(place.offset),
                            what,
                        });
                        return Err(failed.and_then(Result::err).unwrap_or(missing));
                    }
                    _ => {
                        overtaken = true;
                        break;
                    }
                }
            }
            if !overtaken {
                return Ok(records);
            }
        }
    }

    /// Returns the state of the group's log, which is empty for a group that never wrote.
    pub fn state(&self, group: GroupId) -> GroupState {
        self.inner
            .shared
            .groups
            .read()
            .get(&group)
            .map(|group| group.lock().state())
            .unwrap_or_default()
    }

    /// Returns the error of the write or sync that ended this log. After it the node must stop.
    pub fn failed(&self) -> Option<LogError> {
        self.inner.shared.queue.lock().failure.clone()
    }

    /// Calls `notify` when the log fails, or at once if it has failed. Runs on the writer thread.
    pub fn on_failure(&self, notify: Box<dyn FnOnce(LogError) + Send>) {
        let failure = {
            let mut queue = self.inner.shared.queue.lock();
            match queue.failure.clone() {
                Some(failure) => failure,
                None => return queue.on_failure.push(notify),
            }
        };
        notify(failure);
    }

    /// Writes and syncs the whole queue on this thread. Does nothing when the log has a [`Writer::Thread`].
    pub fn drain(&self) {
        let mut core = self.inner.core.lock();
        if let Some(core) = core.as_mut() {
            while write_batch(core, &self.inner.shared) {}
        }
    }

    /// Writes and syncs the whole queue, marks the end as synced, and stops. From then on other handles get
    /// `Closed`.
    ///
    /// # Errors
    /// The log's failure.
    pub fn close(self) -> Result<(), LogError> {
        self.inner.stop();
        let core = self.inner.core.lock().take();
        if let Some(core) = core {
            finish(core, &self.inner.shared);
        }
        match self.failed() {
            Some(failure) => Err(failure),
            None => Ok(()),
        }
    }
}

impl Inner {
    /// Makes the writer thread write the queue and end.
    fn stop(&self) {
        self.shared.queue.lock().closing = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Returns whether the log in a data folder has a mark of how far it was synced. A log that was reported as
/// [`LogReport::is_marked`] has one, unless it is damaged.
pub fn log_has_mark(directory: &std::path::Path) -> bool {
    let disk = crate::RealDisk::open_read_only(directory);
    disk.is_ok_and(|disk| matches!(mark::read(&disk), Ok(Some(_))))
}

/// Scans the log for a report.
pub(crate) fn inspect(disk: &dyn Disk, report: &mut Report) {
    let found = match recover::recover(disk, 0, false) {
        Ok(found) => found,
        Err(error) => return report.damage.push(error.to_string()),
    };
    if let Some(torn) = &found.report.torn {
        report.torn.push(format!(
            "{} from byte {} on, {} bytes",
            torn.file, torn.offset, torn.bytes
        ));
    }
    let groups = found.groups.iter().map(|(group, contents)| {
        let state = contents.state();
        GroupContents {
            group: *group,
            first_index: state.first_index,
            last_index: state.last_index,
            purged_through: state.purged_through,
        }
    });
    let LogReport {
        segments,
        records,
        bytes,
        ..
    } = found.report;
    report.log = Some(LogContents {
        segments,
        records,
        bytes,
        groups: groups.collect(),
    });
}

fn check_size(bytes: usize, limit_bytes: usize) -> Result<(), LogError> {
    if bytes > limit_bytes {
        Err(LogError::RecordTooLarge { bytes, limit_bytes })
    } else {
        Ok(())
    }
}

/// Reads one record from disk and checks it.
fn read_payload(file: &dyn DiskFile, place: RecordAddress, payload_bytes: u32) -> Result<Bytes, LogError> {
    let mut bytes = vec![0; record::record_bytes(payload_bytes as usize)];
    let path = || segment::path(place.segment);
    file.read_at(&mut bytes, u64::from(place.offset))
        .map_err(|error| LogError::io("read", path(), error))?;
    let header = Header::plausible(&bytes, place);
    if !header.is_some_and(|header| header.payload_bytes == payload_bytes && header.matches(&bytes, place)) {
        let what = "the record's checksum does not match".to_string();
        return Err(LogError::File(FileError::Corrupt {
            file: path(),
            offset: u64::from(place.offset),
            what,
        }));
    }
    let start = record::HEADER_BYTES;
    Ok(Bytes::from(bytes).slice(start..start + payload_bytes as usize))
}

#[cfg(test)]
mod tests;
