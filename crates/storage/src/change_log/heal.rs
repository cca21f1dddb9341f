//! Repair of a change log: damage becomes a gap, and a gap is filled with the changes of a peer.
//!
//! ```text
//!  | 1 .. 40 | damage | 47 .. 90 |
//!       ──check──>   | 1 .. 40 |  gap 41 .. 46  | 47 .. 90 |
//!       ──fill──>    | 1 .. 46 | 47 .. 90 |
//! ```

use std::ops::Range;
use std::sync::Arc;

use super::segment::{self, HEADER_BYTES, Scanner, SegmentHeader};
use super::state::{Index, Segment, State, open_file};
use super::{ChangeLog, ChangeLogError, ChangeRecord};
use crate::FileError;

/// Records of a segment that follow each other without a gap.
struct Run {
    first_seq: u64,
    last_seq: u64,
    /// The place of the records in the file.
    bytes: Range<u64>,
}

impl ChangeLog {
    /// Returns the first changes of the segments, oldest first. A segment may be dropped at any time after.
    pub fn segment_starts(&self) -> Vec<u64> {
        let state = self.inner.state.lock();
        state.segments.iter().map(|segment| segment.first_seq).collect()
    }

    /// Reads the whole segment that begins with a change. Damaged changes become a gap, durably; intact ones
    /// stay readable. Returns whether there was any damage. A segment that was dropped has none. Blocks.
    ///
    /// # Errors
    /// `Io`.
    pub fn check_segment(&self, first_seq: u64) -> Result<bool, ChangeLogError> {
        let sealed = {
            let mut state = self.inner.state.lock();
            let Some(position) = state.starting_with(first_seq) else {
                return Ok(false);
            };
            if position + 1 < state.segments.len() {
                let limit = self.limit(&mut state, position)?;
                let segment = &mut state.segments[position];
                let path = segment.path.clone();
                let file = open_file(&*self.inner.disk, segment)?;
                Some((file, path, limit))
            } else {
                None
            }
        };
        // Nobody writes to a full segment, so it is read without holding up anybody.
        if let Some((file, path, limit)) = sealed {
            let header = SegmentHeader::read(&*file, &path)?;
            let runs = runs(
                &mut Scanner::new(&*file, &path, HEADER_BYTES as u64, limit),
                first_seq,
            )?;
            let mut state = self.inner.state.lock();
            let Some(position) = state.starting_with(first_seq) else {
                return Ok(false);
            };
            let wanted = state.segments.get(position + 1).map_or(0, end_of_previous);
            if header.is_some() && is_whole(&runs, first_seq, wanted) {
                return Ok(false);
            }
            return self.isolate(&mut state, position).map(|()| true);
        }
        let mut state = self.inner.state.lock();
        let Some(position) = state.starting_with(first_seq) else {
            return Ok(false);
        };
        let (last_seq, path) = (state.last_seq, state.segments[position].path.clone());
        let limit = state.end;
        let file = open_file(&*self.inner.disk, &mut state.segments[position])?;
        let runs = runs(
            &mut Scanner::new(&*file, &path, HEADER_BYTES as u64, limit),
            first_seq,
        )?;
        if SegmentHeader::read(&*file, &path)?.is_some() && is_whole(&runs, first_seq, last_seq + 1) {
            return Ok(false);
        }
        self.isolate(&mut state, position).map(|()| true)
    }

    /// Cuts a segment into its intact parts, with gaps between them.
    pub(super) fn isolate(&self, state: &mut State, position: usize) -> Result<(), ChangeLogError> {
        let disk = &*self.inner.disk;
        let is_last = position + 1 == state.segments.len();
        let limit = self.limit(state, position)?;
        let after = match state.segments.get(position + 1) {
            Some(next) => end_of_previous(next),
            None => state.last_seq + 1,
        };
        let segment = &mut state.segments[position];
        let (first_seq, path, gap_from) = (segment.first_seq, segment.path.clone(), segment.gap_from);
        let file = open_file(disk, segment)?;
        segment.index = None;
        let mut runs = runs(
            &mut Scanner::new(&*file, &path, HEADER_BYTES as u64, limit),
            first_seq,
        )?;
        // An earlier attempt may have crashed after runs were copied, and before they were cut off here.
        runs.retain(|run| run.first_seq < after);
        tracing::error!(
            file = path,
            "the change log is damaged: the lost changes are a gap until a peer sends them"
        );
        let first = match runs.first() {
            Some(run) if run.first_seq == first_seq => Some(runs.remove(0)),
            _ => None,
        };
        let mut known_to = first.as_ref().map_or(first_seq, |run| run.last_seq + 1);
        let mut cut_off = Vec::new();
        for run in runs {
            cut_off.push(self.copy_run(state, &*file, &path, &run, known_to)?);
            known_to = run.last_seq + 1;
        }
        if known_to < after {
            if is_last {
                let empty = Run {
                    first_seq: after,
                    last_seq: after - 1,
                    bytes: 0..0,
                };
                cut_off.push(self.copy_run(state, &*file, &path, &empty, known_to)?);
            } else {
                let next = &mut state.segments[position + 1];
                next.gap_from = known_to;
                rewrite_header(disk, next)?;
            }
        }
        let io = |operation| FileError::io(operation, &path);
        disk.sync_dir(&self.inner.directory).map_err(io("sync"))?;
        let header = SegmentHeader {
            first_seq,
            synced_seq: first_seq - 1,
            gap_from,
        };
        let end = first.map_or(HEADER_BYTES as u64, |run| run.bytes.end);
        file.write_at(&header.encode(), 0).map_err(io("mend"))?;
        file.resize(end).map_err(io("cut"))?;
        file.sync_data().map_err(io("sync"))?;
        if is_last && let Some((_, end)) = cut_off.last() {
            state.end = *end;
        } else if is_last {
            state.end = end;
        }
        let inserted = cut_off.into_iter().map(|(segment, _)| segment);
        state.segments.splice(position + 1..position + 1, inserted);
        state.unsynced_from = if is_last {
            state.segments.len() - 1
        } else {
            state.unsynced_from.min(position)
        };
        state.replay = None;
        Ok(())
    }

    /// Copies intact records to a new segment after a gap, and syncs it. Returns the segment and where it
    /// ends.
    fn copy_run(
        &self,
        state: &State,
        from: &dyn crate::DiskFile,
        path: &str,
        run: &Run,
        gap_from: u64,
    ) -> Result<(Segment, u64), ChangeLogError> {
        let header = SegmentHeader {
            first_seq: run.first_seq,
            synced_seq: run.first_seq - 1,
            gap_from,
        };
        let mut segment = Segment::new(&self.inner.directory, header, None);
        let file = self.create_anew(state, &segment.path, header)?;
        let mut end = HEADER_BYTES as u64;
        let mut scanner = Scanner::new(from, path, run.bytes.start, run.bytes.end);
        while !scanner.at_end() {
            let Some(scanned) = scanner.next()? else { break };
            let bytes = segment::encode(&scanned.record, end, scanned.synced_seq);
            file.write_at(&bytes, end)
                .map_err(FileError::io("write", &segment.path))?;
            end += bytes.len() as u64;
        }
        file.sync_data().map_err(FileError::io("sync", &segment.path))?;
        segment.file = Some(file);
        Ok((segment, end))
    }

    /// Makes a segment's file. First removes one that a crash left from an earlier attempt.
    pub(super) fn create_anew(
        &self,
        state: &State,
        path: &str,
        header: SegmentHeader,
    ) -> Result<Arc<dyn crate::DiskFile>, FileError> {
        let disk = &*self.inner.disk;
        let in_use = state.segments.iter().any(|segment| segment.path == path);
        let left_over = !in_use && disk.open(path).is_ok();
        if left_over {
            disk.remove(path).map_err(FileError::io("remove", path))?;
        }
        segment::create(disk, path, header).map_err(FileError::io("create", path))
    }

    /// Returns the missing changes, oldest first.
    pub fn gaps(&self) -> Vec<Range<u64>> {
        let state = self.inner.state.lock();
        let gaps = state.segments.iter().filter(|segment| segment.follows_gap());
        gaps.map(|segment| segment.gap_from..segment.first_seq).collect()
    }

    /// Fills a gap with changes, durably. The first of them must be the first of the gap; those that do not
    /// fit into the gap are left out. Blocks.
    ///
    /// # Errors
    /// `NotContiguous` when they do not begin where a gap begins; `Io`.
    pub fn fill(&self, records: &[ChangeRecord]) -> Result<(), ChangeLogError> {
        let Some(first) = records.first() else {
            return Ok(());
        };
        let mut state = self.inner.state.lock();
        let position = state
            .segments
            .iter()
            .position(|segment| segment.follows_gap() && segment.gap_from == first.first_seq);
        let Some(position) = position.filter(|_| first.first_seq > 0) else {
            return Err(ChangeLogError::NotContiguous {
                expected: state.last_seq + 1,
                first_seq: first.first_seq,
            });
        };
        let gap_to = state.segments[position].first_seq;
        // A crash may have left this segment, after its own sync and before that of the header after it.
        let left_over = position
            .checked_sub(1)
            .filter(|previous| state.segments[*previous].first_seq == first.first_seq);
        let at = left_over.unwrap_or(position);
        let header = SegmentHeader {
            first_seq: first.first_seq,
            synced_seq: first.first_seq - 1,
            // If that segment lost its first record, it may have a gap of its own before it.
            gap_from: left_over.map_or(0, |previous| state.segments[previous].gap_from),
        };
        let mut segment = Segment::new(&self.inner.directory, header, None);
        let temporary = format!("{}/filling.tmp", self.inner.directory);
        let file = self.create_anew(&state, &temporary, header)?;
        let (mut end, mut next) = (HEADER_BYTES as u64, first.first_seq);
        for record in records {
            if record.first_seq != next || record.last_seq >= gap_to {
                break;
            }
            let bytes = segment::encode(record, end, header.synced_seq);
            file.write_at(&bytes, end)
                .map_err(FileError::io("write", &temporary))?;
            end += bytes.len() as u64;
            next = record.last_seq + 1;
        }
        if next == first.first_seq {
            return Ok(());
        }
        let disk = &*self.inner.disk;
        let durable = file
            .sync_data()
            .and_then(|()| disk.rename(&temporary, &segment.path))
            .and_then(|()| disk.sync_dir(&self.inner.directory));
        durable.map_err(FileError::io("write", &segment.path))?;
        segment.index = None;
        let behind = &mut state.segments[position];
        behind.gap_from = if next == gap_to { 0 } else { next };
        rewrite_header(disk, behind)?;
        state.segments.splice(at..position, [segment]);
        if state.unsynced_from >= position {
            state.unsynced_from = state.unsynced_from + at + 1 - position;
        }
        state.replay = None;
        Ok(())
    }

    /// Gives up everything from a change on, because its records are appended again. For damage that the log
    /// can replace.
    pub(super) fn cut_from(&self, state: &mut State, seq: u64) -> Result<(), ChangeLogError> {
        let disk = &*self.inner.disk;
        let position = state.segment_of(seq).unwrap_or(0);
        self.isolate(state, position)?;
        let gap = state
            .segments
            .iter()
            .find(|segment| segment.follows_gap() && segment.gap_from <= seq && seq < segment.first_seq)
            .map(|segment| segment.gap_from);
        let keep = gap.unwrap_or(seq);
        // Newest first: the segments that are left after a crash have no hole.
        while state.segments.len() > 1
            && state
                .segments
                .last()
                .is_some_and(|segment| segment.first_seq >= seq)
        {
            let Some(segment) = state.segments.pop() else {
                break;
            };
            disk.remove(&segment.path)
                .and_then(|()| disk.sync_dir(&self.inner.directory))
                .map_err(FileError::io("remove", &segment.path))?;
            state.end = 0;
        }
        let last = state.segments.len() - 1;
        let segment = &mut state.segments[last];
        let file = open_file(disk, segment)?;
        let limit = file.size_bytes().map_err(FileError::io("read", &segment.path))?;
        let mut scanner = Scanner::new(&*file, &segment.path, HEADER_BYTES as u64, limit);
        let mut end = scanner.offset;
        while !scanner.at_end() {
            match scanner.next()? {
                Some(scanned) if scanned.record.last_seq < keep => end = scanned.end,
                _ => break,
            }
        }
        file.resize(end)
            .and_then(|()| file.sync_data())
            .map_err(FileError::io("cut", &segment.path))?;
        segment.file = Some(file);
        segment.index = Some(Arc::new(Index::default()));
        state.end = end;
        state.last_seq = keep - 1;
        state.synced_seq = state.synced_seq.min(keep - 1);
        state.unsynced_from = last;
        state.replay = None;
        if keep < seq {
            let header = SegmentHeader {
                first_seq: seq,
                synced_seq: seq - 1,
                gap_from: keep,
            };
            self.begin_segment(state, header)?;
            state.last_seq = seq - 1;
        }
        Ok(())
    }
}

/// Returns the change that must follow the last one of the segment before this one.
pub(super) fn end_of_previous(segment: &Segment) -> u64 {
    match segment.gap_from {
        0 => segment.first_seq,
        gap_from => gap_from,
    }
}

fn is_whole(runs: &[Run], first_seq: u64, after: u64) -> bool {
    match runs {
        [] => after == first_seq,
        [run] => run.first_seq == first_seq && run.last_seq + 1 == after,
        _ => false,
    }
}

/// Collects the intact records from here on that are in order, as runs without a gap.
fn runs(scanner: &mut Scanner<'_>, first_seq: u64) -> Result<Vec<Run>, ChangeLogError> {
    let mut runs: Vec<Run> = Vec::new();
    let mut next = first_seq;
    while let Some(scanned) = scanner.next_after_damage()? {
        let (record, bytes) = (&scanned.record, scanned.offset..scanned.end);
        if record.first_seq < next {
            continue;
        }
        match runs.last_mut() {
            Some(run) if record.first_seq == next && bytes.start == run.bytes.end => {
                run.last_seq = record.last_seq;
                run.bytes.end = bytes.end;
            }
            _ => runs.push(Run {
                first_seq: record.first_seq,
                last_seq: record.last_seq,
                bytes,
            }),
        }
        next = record.last_seq + 1;
    }
    Ok(runs)
}

pub(super) fn rewrite_header(disk: &dyn crate::Disk, segment: &mut Segment) -> Result<(), FileError> {
    let header = SegmentHeader {
        first_seq: segment.first_seq,
        synced_seq: segment.first_seq - 1,
        gap_from: segment.gap_from,
    };
    let file = open_file(disk, segment)?;
    file.write_at(&header.encode(), 0)
        .and_then(|()| file.sync_data())
        .map_err(FileError::io("mend", &segment.path))
}

#[cfg(test)]
mod tests;
