//! Cuts a shard's stream into files.

use std::time::Duration;

use holdfast_api::v1::Change;
use tokio::time::Instant;

use super::{Archive, ArchiveError, Put};
use crate::cursor::Cursors;

/// The limits at which a file is closed: at the end of the entry that fills it, or when its oldest change has
/// waited long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The rows at which a file is full, at least 1. The last entry may exceed it.
    pub rows: usize,
    /// The longest that a change waits for its file.
    pub age: Duration,
}

impl Default for Cut {
    /// Returns 131,072 rows or one minute. Files then have some megabytes, and the warehouse's limit of three
    /// minutes is kept.
    fn default() -> Self {
        Self {
            rows: 131_072,
            age: Duration::from_secs(60),
        }
    }
}

/// Writes the files of one shard, in order.
#[derive(Debug)]
pub struct Writer {
    archive: Archive,
    shard: u32,
    cut: Cut,
    cursor: Cursors,
    pending: Vec<Change>,
    /// When the oldest pending change arrived.
    since: Option<Instant>,
    /// The last change of the waiting file if another exporter has claimed it; 0 when no claim is known.
    claimed_through: u64,
    written: Written,
}

/// The work of a writer so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// New files.
    pub files: u64,
    /// The changes in them.
    pub changes: u64,
}

impl Writer {
    pub(super) fn new(archive: Archive, shard: u32, last_seq: u64, cut: Cut) -> Self {
        let mut cursor = Cursors::in_memory();
        cursor.advance(shard, last_seq);
        Self {
            archive,
            shard,
            cut,
            cursor,
            pending: Vec::new(),
            since: None,
            claimed_through: 0,
            written: Written::default(),
        }
    }

    /// Returns the next change that the writer needs; the stream should begin there.
    pub fn next_seq(&self) -> u64 {
        self.cursor.last_seq(self.shard) + 1
    }

    /// Returns what was written so far.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Returns when [`Writer::flush`] is due; None while nothing waits.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.cut.age)
    }

    /// Takes a message of the shard's stream: whole entries. Writes each file that gets full.
    ///
    /// # Errors
    /// A gap, a broken entry, a store that fails, or an existing file with other content. Do not use the
    /// writer afterwards: make a new one, which begins after the last file.
    pub async fn push(&mut self, changes: Vec<Change>) -> Result<(), ArchiveError> {
        for change in self.cursor.admit(self.shard, changes)? {
            let entry_ends = change.entry_offset + 1 == change.entry_changes;
            self.since.get_or_insert_with(Instant::now);
            self.pending.push(change);
            if entry_ends && self.pending.len() >= self.cut.rows {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Writes the waiting changes, if any, as a file. When another exporter has claimed a longer file, the
    /// changes wait for the rest ([`Writer::waiting`]).
    ///
    /// # Errors
    /// The same as of [`Writer::push`].
    pub async fn flush(&mut self) -> Result<(), ArchiveError> {
        while let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) {
            let (first_seq, last_seq) = (first.seq, last.seq);
            // A claim never changes, so it is read once.
            if self.claimed_through < first_seq {
                self.claimed_through = self.archive.claim(self.shard, first_seq, last_seq).await?;
            }
            let claimed = self.claimed_through;
            if claimed > last_seq {
                self.since = Some(Instant::now());
                return Ok(());
            }
            let count = usize::try_from(claimed - first_seq + 1).unwrap_or(usize::MAX);
            let rest = self.pending.split_off(count.min(self.pending.len()));
            let file = std::mem::replace(&mut self.pending, rest);
            if self.archive.put(&file).await? == Put::Written {
                self.written.files += 1;
                self.written.changes += file.len() as u64;
            }
        }
        self.since = None;
        Ok(())
    }

    /// Returns the number of changes that wait for their file.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }
}
