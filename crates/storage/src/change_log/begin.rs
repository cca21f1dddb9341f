//! Beginning of a change log: whole segments are dropped when nobody needs their changes from here.
//!
//! ```text
//!  | 1 .. 40 | 41 .. 90 | 91 .. 140 |  ── drop_before(95) ──>  | 91 .. 140 |
//! ```
//!
//! The segment with which the log begins says so in its header, before any file is removed. So after a crash the
//! files before it are known to be dropped, and a file that is lost is not mistaken for a dropped one.

use super::heal::{end_of_previous, rewrite_header};
use super::segment::SegmentHeader;
use super::state::{Segment, State};
use super::{ChangeLog, ChangeLogError};
use crate::FileError;

impl ChangeLog {
    /// Returns the first change that was not dropped. 1 when none was.
    pub fn begins_at(&self) -> u64 {
        self.inner.state.lock().begins_at()
    }

    /// Drops the segments whose changes all come before a change, and gives up gaps before it. The last segment
    /// always stays. Returns the number of bytes that were freed. Blocks on the disk.
    ///
    /// # Errors
    /// `Io`. Then the rest is dropped by the next call, or when the log is opened.
    pub fn drop_before(&self, seq: u64) -> Result<u64, ChangeLogError> {
        // A sync counts segments by their position.
        let _no_sync = self.inner.syncing.lock();
        let disk = &*self.inner.disk;
        let dropped = {
            let mut state = self.inner.state.lock();
            if seq <= state.begins_at() {
                return Ok(0);
            }
            let count = droppable(&state, seq);
            let first = &state.segments[count];
            let begin = match first.follows_gap() && first.first_seq > seq {
                true => first.gap_from.max(seq),
                false => first.first_seq,
            };
            if begin > seq || (count == 0 && !first.follows_gap()) {
                return Ok(0);
            }
            if begin < first.first_seq {
                self.begin_in_gap(&mut state, count, begin)?;
            } else {
                let first = &mut state.segments[count];
                first.gap_from = first.first_seq;
                rewrite_header(disk, first)?;
            }
            let dropped: Vec<Segment> = state.segments.drain(..count).collect();
            state.unsynced_from = state.unsynced_from.saturating_sub(count);
            state.replay = None;
            dropped
        };
        let mut bytes = 0;
        for segment in dropped {
            let size = disk.open(&segment.path).and_then(|file| file.size_bytes());
            disk.remove(&segment.path)
                .map_err(FileError::io("remove", &segment.path))?;
            bytes += size.unwrap_or(0);
        }
        let directory = &self.inner.directory;
        disk.sync_dir(directory)
            .map_err(FileError::io("sync", directory))?;
        Ok(bytes)
    }

    /// Puts an empty segment into the gap before the segment at a position, with which the log begins.
    fn begin_in_gap(&self, state: &mut State, position: usize, begin: u64) -> Result<(), ChangeLogError> {
        let header = SegmentHeader {
            first_seq: begin,
            synced_seq: begin - 1,
            gap_from: begin,
        };
        let segment = Segment::new(&self.inner.directory, header, None);
        let file = self.create_anew(state, &segment.path, header)?;
        file.sync_data().map_err(FileError::io("sync", &segment.path))?;
        let directory = &self.inner.directory;
        self.inner
            .disk
            .sync_dir(directory)
            .map_err(FileError::io("sync", directory))?;
        let behind = &mut state.segments[position];
        behind.gap_from = begin;
        rewrite_header(&*self.inner.disk, behind)?;
        if state.unsynced_from >= position {
            state.unsynced_from += 1;
        }
        state.segments.insert(position, segment);
        Ok(())
    }
}

/// Returns how many segments at the beginning have only changes before this one.
fn droppable(state: &State, seq: u64) -> usize {
    let with_next = state.segments.iter().zip(state.segments.iter().skip(1));
    with_next
        .take_while(|(segment, next)| end_of_previous(next) <= seq && segment.first_seq < seq)
        .count()
}

#[cfg(test)]
mod tests;
