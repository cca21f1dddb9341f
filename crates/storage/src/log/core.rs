//! Writer of the log: nothing else writes to segments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::mark::Marker;
use super::preparer::Preparer;
use super::record::{self, HEADER_BYTES, Kind, RecordAddress, record_bytes};
use super::segment::{self, RECORDS_START};
use super::shared::{Request, Shared, Write};
use super::{LogError, LogOptions};
use crate::{Disk, DiskFile, GroupId};

/// Values of a group that are not entries and must be found in the log again, as far as they were written.
#[derive(Default)]
struct Kept {
    vote: Option<Bytes>,
    committed: Option<Bytes>,
    purge: Option<(u64, Bytes)>,
}

/// Owner of the segments. Lives on the writer thread, or with the caller of `drain`.
pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: LogOptions,
    pub(super) shared: Arc<Shared>,
    preparer: Preparer,
    pub(super) marker: Marker,
    /// The segment that is being written.
    pub(super) active: u32,
    file: Arc<dyn DiskFile>,
    /// Bytes of encoded records that go to the file at `buffer_offset`.
    buffer: Vec<u8>,
    buffer_offset: u32,
    synced_through: u32,
    kept: BTreeMap<GroupId, Kept>,
    /// The segments below this one were not needed when the queue was last read.
    pub(super) condemned_below: u32,
    /// The active segment when reclaiming last failed. It is tried again in the next segment.
    pub(super) reclaim_stopped_in: u32,
    /// A file that may become the next segment.
    pub(super) recyclable: Option<String>,
}

/// Position at which writing goes on.
pub(super) enum Start {
    /// Continues in the last segment, at this offset.
    Continue {
        segment: u32,
        file: Arc<dyn DiskFile>,
        offset: u32,
    },
    /// Begins in a new segment.
    New { segment: u32 },
}

impl Core {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        options: LogOptions,
        shared: Arc<Shared>,
        mut preparer: Preparer,
        start: Start,
    ) -> Result<Core, LogError> {
        let (active, file, offset) = match start {
            Start::Continue {
                segment,
                file,
                offset,
            } => (segment, file, offset),
            Start::New { segment } => {
                let file = preparer.take(segment, &mut None);
                let file = file.map_err(|error| LogError::io("prepare", segment::path(segment), error))?;
                shared.files.write().insert(segment, file.clone());
                (segment, file, RECORDS_START)
            }
        };
        let mut kept: BTreeMap<GroupId, Kept> = BTreeMap::new();
        for (id, group) in &*shared.groups.read() {
            let state = group.lock().state();
            let purge = state.purged_through.zip(state.purge_marker);
            kept.insert(
                *id,
                Kept {
                    vote: state.vote,
                    committed: state.committed,
                    purge,
                },
            );
        }
        let mut core = Core {
            marker: Marker::open(&*disk),
            disk,
            options,
            shared,
            preparer,
            active,
            file,
            buffer: Vec::new(),
            buffer_offset: offset,
            synced_through: offset,
            kept,
            condemned_below: 0,
            reclaim_stopped_in: 0,
            recyclable: None,
        };
        if offset == RECORDS_START {
            core.write_kept()?;
        }
        core.mark_synced()?;
        core.marker.begin();
        core.preparer.request(core.active + 1, &mut core.recyclable);
        Ok(core)
    }

    /// Writes and syncs everything in the batch, then runs the callbacks. After an error nothing may be
    /// written any more.
    pub(super) fn run(
        &mut self,
        mut requests: Vec<Request>,
        committed: BTreeMap<GroupId, Bytes>,
    ) -> Result<(), LogError> {
        let mut places = Vec::new();
        if let Err(error) = self.write_all(&requests, committed, &mut places) {
            self.shared.fail(&error);
            for synced in requests.iter_mut().filter_map(|request| request.synced.take()) {
                synced(Err(error.clone()));
            }
            return Err(error);
        }
        self.note_synced();
        for synced in requests.iter_mut().filter_map(|request| request.synced.take()) {
            synced(Ok(()));
        }
        let mut places = places.into_iter();
        for request in &requests {
            let Write::Append { ticket, records } = &request.write else {
                continue;
            };
            let mut group = request.memory.lock();
            for (record, place) in records.iter().zip(&mut places) {
                group.written(record.index, *ticket, place);
            }
            group.shrink_cache(self.options.cache_bytes_per_group);
        }
        Ok(())
    }

    fn write_all(
        &mut self,
        requests: &[Request],
        committed: BTreeMap<GroupId, Bytes>,
        places: &mut Vec<RecordAddress>,
    ) -> Result<(), LogError> {
        for request in requests {
            let group = request.group;
            match &request.write {
                Write::Append { records, .. } => {
                    for record in records {
                        places.push(self.put(Kind::Entry, group, record.index, &record.payload)?);
                    }
                }
                Write::Truncate { index } => {
                    self.put(Kind::Truncate, group, *index, &[])?;
                }
                Write::Purge { index, marker } => {
                    self.put(Kind::Purge, group, *index, marker)?;
                    let purge = &mut self.kept.entry(group).or_default().purge;
                    if purge.as_ref().is_none_or(|(purged, _)| purged <= index) {
                        *purge = Some((*index, marker.clone()));
                    }
                }
                Write::Vote(vote) => {
                    self.put(Kind::Vote, group, 0, vote)?;
                    self.kept.entry(group).or_default().vote = Some(vote.clone());
                }
            }
        }
        for (group, committed) in committed {
            self.put(Kind::Committed, group, 0, &committed)?;
            self.kept.entry(group).or_default().committed = Some(committed);
        }
        self.write_buffer()?;
        self.sync()
    }

    /// Encodes a record behind the others. Goes on to the next segment if this one is full.
    pub(super) fn put(
        &mut self,
        kind: Kind,
        group: GroupId,
        index: u64,
        payload: &[u8],
    ) -> Result<RecordAddress, LogError> {
        let needed = record_bytes(payload.len()) + HEADER_BYTES;
        if self.end_offset() as usize + needed > self.options.segment_bytes as usize {
            self.next_segment()?;
        }
        Ok(self.encode(kind, group, index, payload))
    }

    fn encode(&mut self, kind: Kind, group: GroupId, index: u64, payload: &[u8]) -> RecordAddress {
        let place = RecordAddress {
            segment: self.active,
            offset: self.end_offset(),
        };
        record::encode(
            &mut self.buffer,
            place,
            self.synced_through,
            kind,
            group,
            index,
            payload,
        );
        place
    }

    fn end_offset(&self) -> u32 {
        self.buffer_offset + self.buffer.len() as u32
    }

    /// Seals the segment, syncs it, and only then begins the next one: before a segment with records there
    /// are only whole segments.
    fn next_segment(&mut self) -> Result<(), LogError> {
        self.encode(Kind::Seal, 0, 0, &[]);
        self.write_buffer()?;
        self.sync()?;
        let next = self.active + 1;
        let file = self.preparer.take(next, &mut self.recyclable);
        self.file = file.map_err(|error| LogError::failed("prepare", segment::path(next), error))?;
        self.shared.files.write().insert(next, self.file.clone());
        self.active = next;
        self.buffer_offset = RECORDS_START;
        self.synced_through = RECORDS_START;
        self.preparer.request(next + 1, &mut self.recyclable);
        self.write_kept()
    }

    /// Writes the votes, commit positions and purges that begin every segment. So these never pin an older
    /// segment.
    fn write_kept(&mut self) -> Result<(), LogError> {
        for (group, kept) in std::mem::take(&mut self.kept) {
            if let Some((index, marker)) = &kept.purge {
                self.encode(Kind::Purge, group, *index, marker);
            }
            if let Some(vote) = &kept.vote {
                self.encode(Kind::Vote, group, 0, vote);
            }
            if let Some(committed) = &kept.committed {
                self.encode(Kind::Committed, group, 0, committed);
            }
            self.kept.insert(group, kept);
        }
        if self.buffer.len() > self.options.segment_bytes as usize / 2 {
            return Err(LogError::BadOptions(format!(
                "segment_bytes is {}, which is too small for {} groups",
                self.options.segment_bytes,
                self.kept.len()
            )));
        }
        Ok(())
    }

    pub(super) fn write_buffer(&mut self) -> Result<(), LogError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = self.file.write_at(&self.buffer, u64::from(self.buffer_offset));
        written.map_err(|error| LogError::failed("write", segment::path(self.active), error))?;
        self.shared.counters.written(self.buffer.len());
        self.buffer_offset = self.end_offset();
        self.buffer.clear();
        self.buffer.shrink_to(4 << 20);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Result<(), LogError> {
        if self.synced_through < self.buffer_offset {
            let began = Instant::now();
            let synced = self.file.sync_data();
            synced.map_err(|error| LogError::failed("sync", segment::path(self.active), error))?;
            self.shared.counters.synced(began.elapsed());
            self.synced_through = self.buffer_offset;
        }
        Ok(())
    }

    /// Records that everything so far was synced. From then on an invalid record in it is damage, not a torn
    /// tail.
    pub(super) fn mark_synced(&mut self) -> Result<(), LogError> {
        self.write_buffer()?;
        self.sync()?;
        self.put(Kind::Mark, 0, 0, &[])?;
        self.write_buffer()?;
        self.sync()?;
        self.note_synced();
        self.marker.sync();
        Ok(())
    }

    /// Returns whether there is a mark on the disk.
    pub(super) fn is_marked(&self) -> bool {
        self.marker.is_there()
    }

    /// Marks how far the log is synced, before any callback runs. From then on the end of the log is known.
    fn note_synced(&mut self) {
        self.marker.note(RecordAddress {
            segment: self.active,
            offset: self.synced_through,
        });
    }
}
