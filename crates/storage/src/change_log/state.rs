//! State of a change log in memory.

use std::sync::Arc;

use super::ChangeLogError;
use super::segment::{HEADER_BYTES, Scanned, SegmentHeader, file_name};
use crate::{Disk, DiskFile, FileError};

/// One segment of the change log.
pub(super) struct Segment {
    pub(super) first_seq: u64,
    /// The changes from here to `first_seq` are missing; 0 when none are. Equal to `first_seq` in a segment with
    /// which the log begins, because everything before it was dropped.
    pub(super) gap_from: u64,
    pub(super) path: String,
    /// The open file, as long as it is written and not yet synced.
    pub(super) file: Option<Arc<dyn DiskFile>>,
    pub(super) index: Option<Arc<Index>>,
}

impl Segment {
    pub(super) fn new(directory: &str, header: SegmentHeader, file: Option<Arc<dyn DiskFile>>) -> Segment {
        let path = format!("{directory}/{}", file_name(header.first_seq));
        let index = file.is_some().then(|| Arc::new(Index::default()));
        Segment {
            first_seq: header.first_seq,
            gap_from: header.gap_from,
            path,
            file,
            index,
        }
    }
}

impl Segment {
    /// Returns whether everything before this segment was dropped.
    pub(super) fn is_beginning(&self) -> bool {
        self.gap_from == self.first_seq
    }

    /// Returns whether changes before this segment are missing.
    pub(super) fn follows_gap(&self) -> bool {
        self.gap_from > 0 && !self.is_beginning()
    }
}

/// Returns the segment's file, and opens it if needed.
pub(super) fn open_file(disk: &dyn Disk, segment: &mut Segment) -> Result<Arc<dyn DiskFile>, FileError> {
    match &segment.file {
        Some(file) => Ok(file.clone()),
        None => disk
            .open(&segment.path)
            .map_err(FileError::io("open", &segment.path)),
    }
}

/// Index of a segment: about every so many bytes, the start of a record as `(first_seq, offset)`, ascending.
#[derive(Debug, Clone, Default)]
pub(super) struct Index {
    points: Vec<(u64, u64)>,
}

impl Index {
    pub(super) fn note(&mut self, first_seq: u64, offset: u64, every_bytes: u32) {
        let due = self
            .points
            .last()
            .is_none_or(|(_, last)| offset >= last + u64::from(every_bytes));
        if due {
            self.points.push((first_seq, offset));
        }
    }

    pub(super) fn note_scanned(&mut self, scanned: &Scanned, every_bytes: u32) {
        self.note(scanned.record.first_seq, scanned.offset, every_bytes);
    }

    /// Returns the offset at which to start looking for a change.
    pub(super) fn before(&self, seq: u64) -> u64 {
        let after = self.points.partition_point(|(first_seq, _)| *first_seq <= seq);
        after
            .checked_sub(1)
            .map_or(HEADER_BYTES as u64, |point| self.points[point].1)
    }
}

/// Place of the stored record that the next repeated append must equal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor {
    pub(super) seq: u64,
    pub(super) segment: usize,
    pub(super) offset: u64,
}

pub(super) struct State {
    /// All segments, oldest first; never empty.
    pub(super) segments: Vec<Segment>,
    /// Offset of the next record in the last segment.
    pub(super) end: u64,
    pub(super) last_seq: u64,
    /// The changes through this one are durable.
    pub(super) synced_seq: u64,
    /// The segments from this one on have unsynced bytes or names.
    pub(super) unsynced_from: usize,
    pub(super) replay: Option<Cursor>,
    /// The error of a failed write or sync. After it nothing may be written any more.
    pub(super) failure: Option<ChangeLogError>,
}

impl State {
    /// Returns the position of the segment that begins with this change.
    pub(super) fn starting_with(&self, first_seq: u64) -> Option<usize> {
        let found = self
            .segments
            .binary_search_by_key(&first_seq, |segment| segment.first_seq);
        found.ok()
    }

    /// Returns the position of the segment that has this change, if one has it.
    pub(super) fn segment_of(&self, seq: u64) -> Option<usize> {
        self.segments
            .partition_point(|segment| segment.first_seq <= seq)
            .checked_sub(1)
    }

    /// Keeps the index of the full segment that begins with this change, and of at most `most` others like it.
    /// The segment may have been dropped since the index was built.
    pub(super) fn keep_index(&mut self, first_seq: u64, index: Arc<Index>, most: usize) {
        let Some(position) = self.starting_with(first_seq) else {
            return;
        };
        let active = self.segments.len() - 1;
        self.segments[position].index.get_or_insert(index);
        let full = &mut self.segments[..active];
        if full.iter().filter(|segment| segment.index.is_some()).count() > most {
            let mut others = full
                .iter_mut()
                .enumerate()
                .filter(|(other, _)| *other != position);
            if let Some((_, other)) = others.find(|(_, segment)| segment.index.is_some()) {
                other.index = None;
            }
        }
    }

    /// Returns the first change of the newest run without a gap.
    pub(super) fn first_seq(&self) -> u64 {
        let newest_gap = self.segments.iter().rev().find(|segment| segment.follows_gap());
        newest_gap
            .or(self.segments.first())
            .map_or(1, |segment| segment.first_seq)
    }

    /// Returns the first change that was not dropped. 1 when none was.
    pub(super) fn begins_at(&self) -> u64 {
        let first = self.segments.first().filter(|segment| segment.is_beginning());
        first.map_or(1, |segment| segment.first_seq)
    }

    /// Fails if this change is in a gap, or was dropped.
    pub(super) fn check_gap(&self, seq: u64) -> Result<(), ChangeLogError> {
        let begins_at = self.begins_at();
        if seq < begins_at {
            return Err(ChangeLogError::Dropped { begins_at });
        }
        let next = self.segments.iter().find(|segment| segment.first_seq > seq);
        match next {
            Some(next) if next.gap_from > 0 && seq >= next.gap_from => Err(ChangeLogError::Gap {
                missing_from: seq,
                next_seq: next.first_seq,
            }),
            _ => Ok(()),
        }
    }
}
