//! Cuts a shard's stream into files.

use std::time::Duration;

use bytes::Bytes;
use holdfast_api::v1::Change;
use holdfast_lake::{PutError, Sha256};
use tokio::time::Instant;

use super::manifest::{Head, MAX_FILE_BYTES, ManifestEntry, VERSION};
use super::name::{Day, FileName};
use super::{Archive, ArchiveError, Format, blocking};
use crate::cursor::Cursors;

/// The limits at which a file is closed. The first three follow from the stream alone, so all exporters cut
/// at the same changes: the rows, the period and, always, the border of a UTC day of log time. The last one
/// closes the file of a stream that stands still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// The rows at which a file is full, at least 1. It is closed at the end of the log entry that fills it,
    /// so that entry may exceed it.
    pub rows: usize,
    /// A file never spans two periods of log time. Periods of this length are counted from the Unix epoch.
    pub period: Duration,
    /// The longest that a change waits for its file, by the clock of this machine. It should be longer than
    /// the period, so that it matters only for streams that stand still.
    pub max_wait: Duration,
}

impl Default for Cut {
    /// Returns 131,072 rows, periods of one minute, and a wait of 90 seconds. Files then have some megabytes,
    /// and a change is archived within two minutes.
    fn default() -> Self {
        Self {
            rows: 131_072,
            period: Duration::from_secs(60),
            max_wait: Duration::from_secs(90),
        }
    }
}

impl Cut {
    /// Returns the period of a log time. A period without length has all times.
    fn period_of(&self, log_time_ms: u64) -> u64 {
        let period_ms = u64::try_from(self.period.as_millis()).unwrap_or(u64::MAX);
        log_time_ms.checked_div(period_ms).unwrap_or(0)
    }

    /// Returns whether two changes may be in one file.
    fn keeps_together(&self, one: &Change, other: &Change) -> bool {
        Day::of(one.log_time_ms) == Day::of(other.log_time_ms)
            && self.period_of(one.log_time_ms) == self.period_of(other.log_time_ms)
    }
}

/// Writes the files of one shard, in order.
///
/// ```text
///   push ──> waiting changes ──> flush:  is the next manifest entry there?
///                                  no ──> write the file ──> write the entry, if there is still none
///                                  yes, or another one was faster ──> drop what its file covers, go on
/// ```
#[derive(Debug)]
pub struct Writer {
    archive: Archive,
    shard: u32,
    cut: Cut,
    cursor: Cursors,
    /// The last change that is archived.
    archived_through: u64,
    head: Option<Head>,
    pending: Vec<Change>,
    /// When the oldest pending change arrived.
    since: Option<Instant>,
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

/// The result of an attempt to append an entry.
enum Appended {
    /// This writer wrote the entry, or found exactly the same one.
    Own(Head, Written),
    /// Another writer was faster. These are the bytes of its entry.
    Others(Bytes),
}

impl Writer {
    pub(super) fn new(archive: Archive, shard: u32, last_seq: u64, head: Option<Head>, cut: Cut) -> Self {
        let mut cursor = Cursors::in_memory();
        cursor.advance(shard, last_seq);
        Self {
            archive,
            shard,
            cut,
            cursor,
            archived_through: last_seq,
            head,
            pending: Vec::new(),
            since: None,
            written: Written::default(),
        }
    }

    /// Returns the next change that the writer needs; the stream should begin there.
    pub fn next_seq(&self) -> u64 {
        self.cursor.last_seq(self.shard) + 1
    }

    /// Returns the last change that is certainly archived, by this writer or another one. All changes up to
    /// this one are stored, and the manifest names their files.
    pub fn archived_through(&self) -> u64 {
        self.archived_through
    }

    /// Returns the last manifest entry. Whoever keeps it elsewhere can later prove that no end of the archive
    /// was removed.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Returns what this writer has written so far.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Returns when [`Writer::flush`] is due; None while nothing waits.
    pub fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + self.cut.max_wait)
    }

    /// Returns the number of changes that wait for their file.
    pub fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Takes a message of the shard's stream: whole log entries. Writes each file that gets full. Drops
    /// changes that are archived already.
    ///
    /// # Errors
    /// A gap, a broken entry, a store that fails, or an archive with other changes. Do not use the writer
    /// afterwards: make a new one, which begins after the last file.
    pub async fn push(&mut self, changes: Vec<Change>) -> Result<(), ArchiveError> {
        for change in self.cursor.admit(self.shard, changes)? {
            let begins_entry = change.entry_offset == 0;
            let ends_entry = change.entry_offset + 1 == change.entry_changes;
            let fits = |first: &Change| self.cut.keeps_together(first, &change);
            if begins_entry && self.pending.first().is_some_and(|first| !fits(first)) {
                self.flush().await?;
            }
            // Another exporter may have archived more than this writer has seen.
            if change.seq <= self.archived_through {
                continue;
            }
            let before_ms = self.pending.last().map_or(0, |last| last.log_time_ms);
            if change.log_time_ms < before_ms {
                return Err(ArchiveError::LogTimeWentBack {
                    seq: change.seq,
                    log_time_ms: change.log_time_ms,
                    before_ms,
                });
            }
            self.since.get_or_insert_with(Instant::now);
            self.pending.push(change);
            if ends_entry && self.pending.len() >= self.cut.rows {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Archives the waiting changes, if any.
    ///
    /// # Errors
    /// The same as of [`Writer::push`].
    pub async fn flush(&mut self) -> Result<(), ArchiveError> {
        while let Some(first) = self.pending.first() {
            let day = day_of(first)?;
            let number = self.head.map_or(1, |head| head.entry + 1);
            // Most often this shows in time that another exporter was faster, and spares a file in vain.
            let others = match self.archive.entry_bytes(self.shard, day, number).await? {
                Some(bytes) => bytes,
                None => match self.append(day, number).await? {
                    Appended::Own(head, written) => {
                        self.written.files += written.files;
                        self.written.changes += written.changes;
                        self.go_on_behind(head);
                        continue;
                    }
                    Appended::Others(bytes) => bytes,
                },
            };
            self.follow(day, number, &others).await?;
        }
        self.since = None;
        Ok(())
    }

    /// Writes the waiting changes as a file, and then the entry that names it.
    async fn append(&mut self, day: Day, number: u64) -> Result<Appended, ArchiveError> {
        let content = self.encode(self.pending.len()).await?;
        let (Some(first), Some(last)) = (self.pending.first(), self.pending.last()) else {
            return Err(ArchiveError::Defect(
                "a file without changes was to be written".to_owned(),
            ));
        };
        let (sha256, bytes) = (Sha256::of(&content), content.len() as u64);
        let name = FileName {
            shard: self.shard,
            first_seq: first.seq,
            last_seq: last.seq,
            hash: sha256.short(),
            format: self.archive.format,
        };
        let mut entry = ManifestEntry {
            version: VERSION,
            shard: self.shard,
            entry: number,
            previous: self.head.map(|head| head.sha256),
            file: ManifestEntry::file_path(&name, day),
            file_version: None,
            sha256,
            bytes,
            rows: self.pending.len() as u64,
            first_seq: first.seq,
            last_seq: last.seq,
            first_log_time_ms: first.log_time_ms,
            last_log_time_ms: last.log_time_ms,
        };
        Head::check_next(self.head.as_ref(), &entry)
            .map_err(|what| self.archive.bad_entry(self.shard, day, number, what))?;
        let location = self.archive.location();
        let stored = location
            .put_once(&self.archive.file(&entry), content, entry.last_log_time_ms)
            .await?;
        entry.file_version = stored.version;
        let bytes = entry
            .encode()
            .map_err(|error| ArchiveError::Defect(error.to_string()))?;
        let head = Head::of(&entry, &bytes);
        let path = self.archive.entry_path(self.shard, day, number);
        match location.put_once(&path, bytes, entry.last_log_time_ms).await {
            Ok(put) if put.is_new => {
                let changes = entry.rows;
                Ok(Appended::Own(head, Written { files: 1, changes }))
            }
            Ok(_) => Ok(Appended::Own(head, Written::default())),
            Err(PutError::OtherContent { .. }) => {
                let bytes = self.archive.entry_bytes(self.shard, day, number).await?;
                let missing = || {
                    self.archive
                        .bad_entry(self.shard, day, number, "it was removed".into())
                };
                Ok(Appended::Others(bytes.ok_or_else(missing)?))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Takes over the entry of another exporter: it has to follow the head, and its changes have to be those
    /// that wait here, as far as they do.
    async fn follow(&mut self, day: Day, number: u64, bytes: &Bytes) -> Result<(), ArchiveError> {
        let entry = self.archive.decode_entry(self.shard, day, number, bytes)?;
        Head::check_next(self.head.as_ref(), &entry)
            .map_err(|what| self.archive.bad_entry(self.shard, day, number, what))?;
        let other_content = || ArchiveError::OtherContent {
            path: entry.file.clone(),
        };
        if self.pending.first().map(|change| change.seq) != Some(entry.first_seq) {
            return Err(other_content());
        }
        let covered = self
            .pending
            .iter()
            .take_while(|change| change.seq <= entry.last_seq)
            .count();
        let content = self.encode(covered).await?;
        if Sha256::of(&content) != entry.sha256 {
            let theirs = self.archive.read(&entry).await?;
            // Both sides went through a file, so that only their changes are compared.
            let ours = self.archive.format.decode(&entry.file, content)?;
            if !theirs.starts_with(&ours) {
                return Err(other_content());
            }
        }
        self.go_on_behind(Head::of(&entry, bytes));
        Ok(())
    }

    fn go_on_behind(&mut self, head: Head) {
        self.head = Some(head);
        self.archived_through = head.last_seq;
        self.pending.retain(|change| change.seq > head.last_seq);
        if self.next_seq() <= head.last_seq {
            self.cursor.advance(self.shard, head.last_seq);
        }
    }

    /// Encodes the first waiting changes. It takes a while, so other tasks go on meanwhile.
    async fn encode(&mut self, count: usize) -> Result<Bytes, ArchiveError> {
        let format: Format = self.archive.format;
        let changes = std::mem::take(&mut self.pending);
        let rows = count.min(changes.len());
        let (changes, content) = blocking(move || {
            let content = changes
                .get(..rows)
                .map_or_else(|| format.encode(&[]), |some| format.encode(some));
            Ok((changes, content))
        })
        .await?;
        self.pending = changes;
        let content = content?;
        if content.len() as u64 > MAX_FILE_BYTES {
            let bytes = content.len();
            return Err(ArchiveError::TooLarge { rows, bytes });
        }
        Ok(content)
    }
}

fn day_of(change: &Change) -> Result<Day, ArchiveError> {
    Day::of(change.log_time_ms).ok_or(ArchiveError::LogTime {
        seq: change.seq,
        log_time_ms: change.log_time_ms,
    })
}
