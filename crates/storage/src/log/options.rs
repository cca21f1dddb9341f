//! Options of a log, and the report of opening it.

use super::LogError;
use super::record::record_bytes;
use super::segment::RECORDS_START;
use crate::GroupId;

/// Settings of a [`Log`](crate::Log).
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Size of one segment file in bytes, which is filled with zeros before it is used. 64 KiB to 1 GiB;
    /// default 64 MiB.
    pub segment_bytes: u32,
    /// Largest payload of one record in bytes; two must fit in a segment. Default 16 MiB.
    pub max_record_bytes: u32,
    /// Bytes of the newest payloads that each group keeps in memory for readers. Default 32 MiB.
    pub cache_bytes_per_group: usize,
    /// Thread that writes and syncs. Default [`Writer::Thread`].
    pub writer: Writer,
    /// Whether a log was opened here before and [`LogReport::is_marked`] reported a mark. If so, a log
    /// without a mark is damaged, however little else is missing. Default false.
    pub expects_mark: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            segment_bytes: 64 << 20,
            max_record_bytes: 16 << 20,
            cache_bytes_per_group: 32 << 20,
            writer: Writer::Thread,
            expects_mark: false,
        }
    }
}

impl LogOptions {
    pub(super) fn check(&self) -> Result<(), LogError> {
        if !(64 << 10..=1 << 30).contains(&self.segment_bytes) {
            let message = format!(
                "segment_bytes is {}, it must be from 65536 to 1073741824",
                self.segment_bytes
            );
            return Err(LogError::BadOptions(message));
        }
        let limit = self.segment_bytes as usize / 2 - RECORDS_START as usize;
        if record_bytes(self.max_record_bytes as usize) > limit {
            let message = format!(
                "max_record_bytes is {}, it must be at most half of segment_bytes",
                self.max_record_bytes
            );
            return Err(LogError::BadOptions(message));
        }
        Ok(())
    }
}

/// Thread that writes and syncs the queue of a [`Log`](crate::Log).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writer {
    /// The log has its own thread.
    Thread,
    /// The caller of [`Log::drain`](crate::Log::drain) writes. There are no threads at all, so a simulation
    /// is deterministic.
    Caller,
}

/// Report of opening a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    /// Number of segment files with records.
    pub segments: usize,
    /// Number of valid records in them, of any kind.
    pub records: u64,
    /// Bytes of those records, framing included.
    pub bytes: u64,
    /// Groups that have records.
    pub groups: Vec<GroupId>,
    /// The unfinished end that a crash left, if any. It was never acknowledged, and opening has removed it.
    pub torn: Option<TornTail>,
    /// Whether the log has a mark on the disk of how far it was synced. If so, it keeps one as long as the
    /// folder is intact.
    pub is_marked: bool,
}

/// An end of a file that a crash left unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file, relative to the data directory.
    pub file: String,
    /// Offset at which the valid part ends, in bytes.
    pub offset: u64,
    /// Number of later bytes that were neither zero nor left from an earlier use of the file.
    pub bytes: u64,
}
