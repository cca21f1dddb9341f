//! The manifest: the index of an archive. Each entry names one file, and carries the hash of the entry
//! before.
//!
//! ```text
//!   entry 1 ──────────────> entry 2 ──────────────> entry 3      each written once
//!   previous: null          previous: SHA-256 of 1  previous: SHA-256 of 2
//!   file: changes 1 - 40    file: 41 - 97           file: 98 - 120
//! ```
//!
//! `docs/archive.md` describes the form of an entry for readers of every kind.

use bytes::Bytes;
use holdfast_lake::{Expected, Sha256};
use serde::{Deserialize, Serialize};

use super::Format;
use super::name::{self, Day, FileName};

/// The version of the form of an entry.
pub(super) const VERSION: u32 = 1;
/// The largest entry that is read, in bytes. One that is written has some 500.
pub(super) const MAX_ENTRY_BYTES: u64 = 16 << 10;
/// The largest file of changes that is written or read, in bytes.
pub(super) const MAX_FILE_BYTES: u64 = 2 << 30;

/// One entry of the manifest of a shard. It names one file of changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// The version of this form.
    pub version: u32,
    /// The shard of the changes.
    pub shard: u32,
    /// The number of the entry in its shard, from 1.
    pub entry: u64,
    /// The SHA-256 of the exact bytes of the entry before; None in entry 1.
    pub previous: Option<Sha256>,
    /// The path of the file, relative to the place of the archive.
    pub file: String,
    /// The version id that the store gave the file; None without versions.
    pub file_version: Option<String>,
    /// The SHA-256 of the whole file.
    pub sha256: Sha256,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The number of changes in it.
    pub rows: u64,
    /// Its first change.
    pub first_seq: u64,
    /// Its last change.
    pub last_seq: u64,
    /// The log time of its first change, in milliseconds since the Unix epoch.
    pub first_log_time_ms: u64,
    /// The log time of its last change.
    pub last_log_time_ms: u64,
}

impl ManifestEntry {
    /// Returns the bytes of the entry's file. An entry has exactly one form.
    pub(super) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        Ok(serde_json::to_vec(self)?.into())
    }

    /// Reads an entry and checks that its parts fit together, and that it is the entry that its name says.
    ///
    /// # Errors
    /// The fault, in words.
    pub(super) fn decode(shard: u32, day: Day, entry: u64, bytes: &[u8]) -> Result<Self, String> {
        /// The part that every version has.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!(
                "it has version {version}, and this program reads version {VERSION}"
            ));
        }
        let read: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if read.encode().ok().as_deref() != Some(bytes) {
            return Err("it is not written in the one form of an entry".to_owned());
        }
        read.check(shard, day, entry)?;
        Ok(read)
    }

    fn check(&self, shard: u32, day: Day, entry: u64) -> Result<(), String> {
        if (self.shard, self.entry) != (shard, entry) {
            return Err(format!(
                "it says that it is entry {} of shard {}",
                self.entry, self.shard
            ));
        }
        if self.previous.is_none() != (entry == 1) {
            return Err("only entry 1 has no entry before it".to_owned());
        }
        let days = [self.first_log_time_ms, self.last_log_time_ms].map(Day::of);
        if days != [Some(day); 2] || self.last_log_time_ms < self.first_log_time_ms {
            return Err("its log times are not of the day of its folder".to_owned());
        }
        let is_range = 1 <= self.first_seq && self.first_seq <= self.last_seq && self.last_seq < u64::MAX;
        if !is_range || self.rows != self.last_seq - self.first_seq + 1 {
            let (rows, first_seq, last_seq) = (self.rows, self.first_seq, self.last_seq);
            return Err(format!(
                "it says that there are {rows} changes from {first_seq} to {last_seq}"
            ));
        }
        if self.bytes > MAX_FILE_BYTES {
            return Err(format!(
                "it says that its file has {} bytes, at most {MAX_FILE_BYTES} are allowed",
                self.bytes
            ));
        }
        let format = self
            .format()
            .ok_or_else(|| format!("it names {}, which is no file of an archive", self.file))?;
        let expected = Self::file_path(
            &FileName {
                shard,
                first_seq: self.first_seq,
                last_seq: self.last_seq,
                hash: self.sha256.short(),
                format,
            },
            day,
        );
        if self.file != expected {
            return Err(format!("it names {} instead of {expected}", self.file));
        }
        Ok(())
    }

    /// Returns the format of the file, by its name.
    pub(super) fn format(&self) -> Option<Format> {
        Some(self.file.rsplit('/').next()?.parse::<FileName>().ok()?.format)
    }

    /// Returns the path of a file of changes, relative to the place of the archive.
    pub(super) fn file_path(name: &FileName, day: Day) -> String {
        name::day_folder(&name::CHANGES.into(), name.shard, day)
            .join(name.to_string())
            .to_string()
    }

    /// Returns what the file has to be.
    pub(super) fn expected(&self) -> Expected {
        Expected {
            sha256: self.sha256,
            bytes: self.bytes,
            version: self.file_version.clone(),
        }
    }
}

/// The last entry of a shard, which the next one has to follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The number of the entry.
    pub entry: u64,
    /// The SHA-256 of its exact bytes.
    pub sha256: Sha256,
    /// The last change in its file.
    pub last_seq: u64,
    /// The log time of that change, in milliseconds since the Unix epoch.
    pub last_log_time_ms: u64,
}

impl Head {
    /// Returns the head after an entry with these bytes.
    pub(super) fn of(entry: &ManifestEntry, bytes: &[u8]) -> Self {
        Self {
            entry: entry.entry,
            sha256: Sha256::of(bytes),
            last_seq: entry.last_seq,
            last_log_time_ms: entry.last_log_time_ms,
        }
    }

    /// Checks that an entry follows this head. Without a head it has to be the first one.
    ///
    /// # Errors
    /// The fault, in words.
    pub(super) fn check_next(head: Option<&Self>, next: &ManifestEntry) -> Result<(), String> {
        let number = head.map_or(1, |head| head.entry + 1);
        if next.entry != number {
            return Err(format!(
                "it follows entry {}, and entry {number} is missing",
                number - 1
            ));
        }
        let Some(head) = head else { return Ok(()) };
        if next.previous != Some(head.sha256) {
            return Err(format!(
                "its `previous` is not the SHA-256 of entry {}, which is {}: one of the two was changed",
                head.entry, head.sha256
            ));
        }
        if next.first_seq != head.last_seq + 1 {
            return Err(format!(
                "its file begins with change {}, and entry {} ends with change {}",
                next.first_seq, head.entry, head.last_seq
            ));
        }
        // Entries are found by day. An entry in an earlier day than the one before would be a second end.
        if next.first_log_time_ms < head.last_log_time_ms {
            return Err(format!(
                "its file begins at log time {} ms, and entry {} ends at {} ms",
                next.first_log_time_ms, head.entry, head.last_log_time_ms
            ));
        }
        Ok(())
    }
}
