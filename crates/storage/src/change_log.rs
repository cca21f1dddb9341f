//! Change log of one group: every change of its ledger, numbered without a gap, in segments. Whole segments are
//! dropped from its beginning when their changes are in an archive ([`ChangeLog::drop_before`]).
//!
//! It is derived: the state machine can make the records again from the log or a snapshot. So appends are not
//! synced one by one. They are synced before a snapshot lets the log be purged. A torn end after a crash is
//! cut when the change log is opened, and appended again.
//!
//! After a snapshot from a peer was installed, changes may be missing in the middle
//! ([`ChangeLog::reset_to`]). They are read from a peer that has them.

mod begin;
mod error;
mod heal;
mod recover;
mod repair;
mod segment;
mod state;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

pub use error::ChangeLogError;
pub(crate) use recover::inspect;

use self::recover::Recovered;
use self::segment::{HEADER_BYTES, Scanned, Scanner, SegmentHeader};
use self::state::{Cursor, Index, Segment, State, open_file};
use crate::{Disk, DiskFile, FileError, GroupId, TornTail};

/// Directory of all groups' change logs, below the data directory.
pub(crate) const DIRECTORY: &str = "changes";

/// Number of full segments whose index is kept in memory.
const INDEXES_KEPT: usize = 64;

/// Changes of one log entry, or some of them when they are more than one record can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeRecord {
    /// Sequence number of the first change.
    pub first_seq: u64,
    /// Sequence number of the last change.
    pub last_seq: u64,
    /// Index of the log entry that made the changes.
    pub log_index: u64,
    /// The encoded changes, opaque in this crate.
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
        ChangeLogOptions {
            segment_bytes: 64 << 20,
            max_record_bytes: 16 << 20,
            index_every_bytes: 64 << 10,
        }
    }
}

/// Report of opening a change log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChangeLogReport {
    /// Number of segment files.
    pub segments: usize,
    /// The unfinished end that a crash left. It is derived again from the log.
    pub torn: Option<TornTail>,
}

/// A handle to the change log of one group; clones share it. One caller appends, many read.
#[derive(Clone)]
pub struct ChangeLog {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    directory: String,
    options: ChangeLogOptions,
    state: Mutex<State>,
    /// Lock that allows one sync at a time.
    syncing: Mutex<()>,
}

impl ChangeLog {
    /// Opens the group's change log, making it if needed, and cuts a torn tail.
    ///
    /// # Errors
    /// `Io`, `UnknownVersion`. Damage is no error here, but is one when it is read.
    pub fn open(
        disk: Arc<dyn Disk>,
        group: GroupId,
        options: ChangeLogOptions,
    ) -> Result<(ChangeLog, ChangeLogReport), ChangeLogError> {
        let directory = format!("{DIRECTORY}/{group}");
        disk.create_dir(&directory)
            .map_err(FileError::io("create", &directory))?;
        let Recovered {
            state,
            useless,
            report,
        } = recover::recover(&*disk, &directory, options.index_every_bytes)?;
        for path in &useless {
            disk.remove(path).map_err(FileError::io("remove", path))?;
        }
        let state = match state {
            Some(state) => state,
            None => {
                let header = SegmentHeader {
                    first_seq: 1,
                    synced_seq: 0,
                    gap_from: 0,
                };
                let mut segment = Segment::new(&directory, header, None);
                let file = segment::create(&*disk, &segment.path, header);
                segment.file = Some(file.map_err(FileError::io("create", &segment.path))?);
                segment.index = Some(Arc::default());
                State {
                    segments: vec![segment],
                    end: HEADER_BYTES as u64,
                    last_seq: 0,
                    synced_seq: 0,
                    unsynced_from: 0,
                    replay: None,
                    failure: None,
                }
            }
        };
        if let (Some(torn), Some(last)) = (&report.torn, state.segments.last()) {
            tracing::warn!(
                file = torn.file,
                offset = torn.offset,
                bytes = torn.bytes,
                "the torn end of the change log was cut off"
            );
            if let Some(file) = &last.file {
                file.resize(state.end).map_err(FileError::io("cut", &last.path))?;
            }
        }
        let inner = Inner {
            disk,
            directory,
            options,
            state: Mutex::new(state),
            syncing: Mutex::new(()),
        };
        let log = ChangeLog {
            inner: Arc::new(inner),
        };
        // The bytes that were read may be in memory only.
        log.rewrite_unproven()?;
        log.sync()?;
        Ok((log, report))
    }

    /// Appends a record. It is readable when this returns, and durable after the next [`ChangeLog::sync`].
    ///
    /// A record that is stored already is compared and skipped. If the stored one is damaged, it and
    /// everything after it is given up, because a caller that repeats one record also repeats the later ones.
    /// A repeated record that begins a gap goes into the gap; others inside a gap are skipped.
    ///
    /// # Errors
    /// `NotContiguous`, `Diverged`, `RecordTooLarge`. After `Io` nothing more can be appended.
    pub fn append(&self, record: ChangeRecord) -> Result<(), ChangeLogError> {
        let limit_bytes = self.inner.options.max_record_bytes as usize;
        let mut state = self.inner.state.lock();
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if record.payload.len() > limit_bytes {
            return Err(ChangeLogError::RecordTooLarge {
                bytes: record.payload.len(),
                limit_bytes,
            });
        }
        let expected = state.last_seq + 1;
        if record.first_seq == 0 || record.first_seq > expected || record.last_seq < record.first_seq {
            return Err(ChangeLogError::NotContiguous {
                expected,
                first_seq: record.first_seq,
            });
        }
        if record.first_seq < expected {
            match self.compare(&mut state, &record) {
                Err(ChangeLogError::Gap { .. }) => {
                    drop(state);
                    let begins_a_gap = self.gaps().iter().any(|gap| gap.start == record.first_seq);
                    return if begins_a_gap {
                        self.fill(&[record])
                    } else {
                        Ok(())
                    };
                }
                // The Raft log may reach further back than the history that is kept.
                Err(ChangeLogError::Dropped { .. }) => return Ok(()),
                Err(why @ ChangeLogError::File(FileError::Corrupt { .. })) => {
                    tracing::error!(%why, from_seq = record.first_seq, "the change log is written again from the Raft log");
                    self.cut_from(&mut state, record.first_seq)?;
                }
                compared => return compared,
            }
        }
        self.write(&mut state, &record)
            .inspect_err(|error| state.failure = Some(error.clone()))
    }

    fn write(&self, state: &mut State, record: &ChangeRecord) -> Result<(), ChangeLogError> {
        let full = state.end >= u64::from(self.inner.options.segment_bytes);
        if full {
            let header = SegmentHeader {
                first_seq: record.first_seq,
                synced_seq: state.synced_seq,
                gap_from: 0,
            };
            self.begin_segment(state, header)?;
        }
        let Some(segment) = state.segments.last_mut() else {
            return Ok(());
        };
        let file = open_file(&*self.inner.disk, segment)?;
        let bytes = segment::encode(record, state.end, state.synced_seq);
        file.write_at(&bytes, state.end)
            .map_err(FileError::io("write", &segment.path))?;
        let index = Arc::make_mut(segment.index.get_or_insert_default());
        index.note(record.first_seq, state.end, self.inner.options.index_every_bytes);
        state.end += bytes.len() as u64;
        state.last_seq = record.last_seq;
        state.unsynced_from = state.unsynced_from.min(state.segments.len() - 1);
        Ok(())
    }

    fn begin_segment(&self, state: &mut State, header: SegmentHeader) -> Result<(), ChangeLogError> {
        let mut segment = Segment::new(&self.inner.directory, header, None);
        let file = segment::create(&*self.inner.disk, &segment.path, header);
        segment.file = Some(file.map_err(FileError::io("create", &segment.path))?);
        segment.index = Some(Arc::default());
        state.segments.push(segment);
        state.end = HEADER_BYTES as u64;
        state.unsynced_from = state.unsynced_from.min(state.segments.len() - 1);
        Ok(())
    }

    /// Checks that the record equals the one that is stored under its numbers.
    fn compare(&self, state: &mut State, record: &ChangeRecord) -> Result<(), ChangeLogError> {
        let diverged = ChangeLogError::Diverged {
            first_seq: record.first_seq,
            last_seq: record.last_seq,
        };
        state.check_gap(record.first_seq)?;
        let cursor = match state.replay.filter(|cursor| cursor.seq == record.first_seq) {
            Some(cursor) => cursor,
            None => self.look_up(state, record.first_seq)?,
        };
        let stored = self.read_at(state, cursor)?;
        let (segment, stored) = match stored {
            Some(stored) => (cursor.segment, stored),
            // The cursor is at the end of its segment.
            None => {
                let next = self.look_up(state, record.first_seq)?;
                let stored = self.read_at(state, next)?;
                (next.segment, stored.ok_or_else(|| diverged.clone())?)
            }
        };
        if stored.record != *record {
            return Err(diverged);
        }
        state.replay = Some(Cursor {
            seq: record.last_seq + 1,
            segment,
            offset: stored.end,
        });
        Ok(())
    }

    fn read_at(&self, state: &mut State, cursor: Cursor) -> Result<Option<Scanned>, ChangeLogError> {
        let limit = self.limit(state, cursor.segment)?;
        let segment = &mut state.segments[cursor.segment];
        let file = open_file(&*self.inner.disk, segment)?;
        let mut scanner = Scanner::new(&*file, &segment.path, cursor.offset, limit);
        if scanner.at_end() {
            return Ok(None);
        }
        match scanner.next()? {
            Some(scanned) => Ok(Some(scanned)),
            None => Err(damaged(&segment.path, cursor.offset)),
        }
    }

    /// Finds the record that has this change.
    fn look_up(&self, state: &mut State, seq: u64) -> Result<Cursor, ChangeLogError> {
        state.check_gap(seq)?;
        let position = state.segment_of(seq).unwrap_or(0);
        let index = self.index(state, position)?;
        let limit = self.limit(state, position)?;
        let segment = &mut state.segments[position];
        let file = open_file(&*self.inner.disk, segment)?;
        let mut scanner = Scanner::new(&*file, &segment.path, index.before(seq), limit);
        while !scanner.at_end() {
            let offset = scanner.offset;
            match scanner.next()? {
                Some(scanned) if scanned.record.last_seq < seq => {}
                Some(scanned) if scanned.record.first_seq <= seq => {
                    return Ok(Cursor {
                        seq,
                        segment: position,
                        offset,
                    });
                }
                _ => return Err(damaged(&segment.path, offset)),
            }
        }
        Err(damaged(&segment.path, scanner.offset))
    }

    /// Returns where the records of a segment end.
    fn limit(&self, state: &mut State, position: usize) -> Result<u64, FileError> {
        if position + 1 == state.segments.len() {
            return Ok(state.end);
        }
        let segment = &mut state.segments[position];
        let file = open_file(&*self.inner.disk, segment)?;
        file.size_bytes().map_err(FileError::io("read", &segment.path))
    }

    /// Returns the index of a segment, read from the segment if it is not in memory.
    fn index(&self, state: &mut State, position: usize) -> Result<Arc<Index>, ChangeLogError> {
        if let Some(index) = &state.segments[position].index {
            return Ok(index.clone());
        }
        let limit = self.limit(state, position)?;
        let segment = &mut state.segments[position];
        let file = open_file(&*self.inner.disk, segment)?;
        let index = self.build_index(&*file, &segment.path, limit)?;
        let first_seq = state.segments[position].first_seq;
        state.keep_index(first_seq, index.clone(), INDEXES_KEPT);
        Ok(index)
    }

    fn build_index(&self, file: &dyn DiskFile, path: &str, limit: u64) -> Result<Arc<Index>, ChangeLogError> {
        let mut index = Index::default();
        let mut scanner = Scanner::new(file, path, HEADER_BYTES as u64, limit);
        while let Some(scanned) = scanner.next_after_damage()? {
            index.note_scanned(&scanned, self.inner.options.index_every_bytes);
        }
        Ok(Arc::new(index))
    }

    /// Reads records, beginning with the one that has change `from_seq`. Returns that record at least, and
    /// otherwise no more than `max_bytes` of payload. Returns nothing when `from_seq` is past the last
    /// change. Stops before a gap.
    ///
    /// # Errors
    /// `Dropped` when the change is older than the history that is kept. `Gap` when this replica lacks the
    /// change, `Corrupt` when its bytes differ from those that were written: ask a peer. `Io`.
    pub fn read(&self, from_seq: u64, max_bytes: usize) -> Result<Vec<ChangeRecord>, ChangeLogError> {
        let mut records: Vec<ChangeRecord> = Vec::new();
        let mut bytes = 0;
        let mut next_seq = from_seq.max(1);
        loop {
            let (segment_seq, file, path, index, limit) = {
                let mut state = self.inner.state.lock();
                if next_seq > state.last_seq {
                    return Ok(records);
                }
                if let Err(missing) = state.check_gap(next_seq) {
                    return if records.is_empty() {
                        Err(missing)
                    } else {
                        Ok(records)
                    };
                }
                let position = state.segment_of(next_seq).unwrap_or(0);
                let limit = self.limit(&mut state, position)?;
                let segment = &mut state.segments[position];
                let file = open_file(&*self.inner.disk, segment)?;
                let (path, index) = (segment.path.clone(), segment.index.clone());
                (segment.first_seq, file, path, index, limit)
            };
            let index = match index {
                Some(index) => index,
                None => {
                    let index = self.build_index(&*file, &path, limit)?;
                    self.inner
                        .state
                        .lock()
                        .keep_index(segment_seq, index.clone(), INDEXES_KEPT);
                    index
                }
            };
            let mut scanner = Scanner::new(&*file, &path, index.before(next_seq), limit);
            let before = next_seq;
            while !scanner.at_end() {
                let offset = scanner.offset;
                let Some(scanned) = scanner
                    .next()?
                    .filter(|scanned| scanned.record.first_seq <= next_seq)
                else {
                    return if records.is_empty() {
                        Err(damaged(&path, offset))
                    } else {
                        Ok(records)
                    };
                };
                if scanned.record.last_seq < next_seq {
                    continue;
                }
                bytes += scanned.record.payload.len();
                if bytes > max_bytes && !records.is_empty() {
                    return Ok(records);
                }
                next_seq = scanned.record.last_seq + 1;
                records.push(scanned.record);
            }
            if next_seq == before {
                return if records.is_empty() {
                    Err(damaged(&path, limit))
                } else {
                    Ok(records)
                };
            }
        }
    }

    /// Returns the largest payload of a record, in bytes.
    pub fn max_record_bytes(&self) -> usize {
        self.inner.options.max_record_bytes as usize
    }

    /// Returns the first change of the newest run without a gap, or one more than [`ChangeLog::last_seq`] if
    /// that run is empty.
    pub fn first_seq(&self) -> u64 {
        self.inner.state.lock().first_seq()
    }

    /// Returns the last change, or 0 when there never was one.
    pub fn last_seq(&self) -> u64 {
        self.inner.state.lock().last_seq
    }

    /// Makes all appended records durable. Blocks on the disk; appends and reads go on meanwhile.
    ///
    /// # Errors
    /// `Io`; nothing more can be appended then.
    pub fn sync(&self) -> Result<(), ChangeLogError> {
        let _one_at_a_time = self.inner.syncing.lock();
        let (files, from, through, last_seq) = {
            let state = self.inner.state.lock();
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            let from = state.unsynced_from;
            let unsynced = state.segments.get(from..).unwrap_or_default();
            let files: Vec<(String, Arc<dyn DiskFile>)> = unsynced
                .iter()
                .filter_map(|segment| Some((segment.path.clone(), segment.file.clone()?)))
                .collect();
            (files, from, state.segments.len(), state.last_seq)
        };
        let synced = files
            .iter()
            .try_for_each(|(path, file)| file.sync_data().map_err(FileError::io("sync", path)))
            .and_then(|()| {
                let directory = &self.inner.directory;
                self.inner
                    .disk
                    .sync_dir(directory)
                    .map_err(FileError::io("sync", directory))
            });
        let mut state = self.inner.state.lock();
        if let Err(error) = synced {
            let error = ChangeLogError::from(error);
            state.failure = Some(error.clone());
            return Err(error);
        }
        state.synced_seq = state.synced_seq.max(last_seq);
        // The last of these segments may have been written to since, so it must be synced again.
        state.unsynced_from = through - 1;
        for segment in &mut state.segments[from.min(through - 1)..through - 1] {
            segment.file = None;
        }
        Ok(())
    }

    /// Moves on to `next_seq`, after a snapshot was installed that includes all earlier changes. Changes that
    /// are missing in between become a gap; older history stays readable. Durable when this returns. Does
    /// nothing if nothing is missing.
    ///
    /// # Errors
    /// `Io`; nothing more can be appended then.
    pub fn reset_to(&self, next_seq: u64) -> Result<(), ChangeLogError> {
        if next_seq <= self.last_seq() + 1 {
            return Ok(());
        }
        self.sync()?;
        {
            let mut state = self.inner.state.lock();
            let gap_from = state.last_seq + 1;
            let header = SegmentHeader {
                first_seq: next_seq,
                synced_seq: next_seq - 1,
                gap_from,
            };
            if let Err(error) = self.begin_segment(&mut state, header) {
                state.failure = Some(error.clone());
                return Err(error);
            }
            state.last_seq = next_seq - 1;
            state.replay = None;
        }
        self.sync()
    }
}

fn damaged(path: &str, offset: u64) -> ChangeLogError {
    ChangeLogError::corrupt(path, offset, "the record there is not the one that was written")
}

#[cfg(test)]
mod tests;
