//! One segment file of a change log: its header, its records, and their scan.
//!
//! ```text
//!  header  | magic | version | reserved | first seq | synced seq | gap from | CRC-32 | zeros
//!  record  | CRC-32 | length | first seq | last seq | log index | synced seq | payload | zeros |
//! ```
//!
//! A record is filled with zeros to a multiple of 8 bytes. Its checksum covers everything after it, and the
//! record's offset. The changes through `synced seq` were durable when the record was written. This separates
//! damage from a torn tail, which is derived again from the log.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::{ChangeLogError, ChangeRecord};
use crate::{Disk, DiskFile, FileError};

pub(super) const HEADER_BYTES: usize = 64;
pub(super) const RECORD_HEADER_BYTES: usize = 40;
const ALIGNMENT: usize = 8;
const MAGIC: &[u8; 8] = b"HFCHANGE";
const VERSION: u32 = 1;
const SCAN_BYTES: usize = 256 << 10;

/// Header of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Sequence number of the segment's first change.
    pub(super) first_seq: u64,
    /// The changes through this one were durable when the segment was made.
    pub(super) synced_seq: u64,
    /// The changes from here to `first_seq` are in no segment; 0 when there is no such gap. Equal to
    /// `first_seq` when all changes before this segment were dropped.
    pub(super) gap_from: u64,
}

impl SegmentHeader {
    /// Returns whether changes before the segment are missing, and were not dropped.
    pub(super) fn follows_gap(&self) -> bool {
        self.gap_from > 0 && self.gap_from != self.first_seq
    }

    pub(super) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first_seq.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_seq.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.gap_from.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..40]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a segment's header. Returns `None` when it differs from the one that was written.
    pub(super) fn read(file: &dyn DiskFile, path: &str) -> Result<Option<SegmentHeader>, ChangeLogError> {
        let mut bytes = [0; HEADER_BYTES];
        let read = file.read_at(&mut bytes, 0).map_err(FileError::io("read", path))?;
        // The end of a header is zeros. A header that was torn there would look whole, and records would
        // begin inside it.
        if read < HEADER_BYTES {
            return Ok(None);
        }
        let header = SegmentHeader {
            first_seq: u64_at(&bytes, 16),
            synced_seq: u64_at(&bytes, 24),
            gap_from: u64_at(&bytes, 32),
        };
        if header.encode() == bytes {
            return Ok(Some(header));
        }
        let found = u32_at(&bytes, 8);
        if &bytes[..8] == MAGIC && crc32fast::hash(&bytes[..40]) == u32_at(&bytes, 40) && found != VERSION {
            return Err(ChangeLogError::File(FileError::UnknownVersion {
                file: path.to_string(),
                found,
                supported: VERSION,
            }));
        }
        Ok(None)
    }
}

/// Returns the name of the segment that begins with this change.
pub(super) fn file_name(first_seq: u64) -> String {
    format!("{first_seq:020}.changes")
}

/// Returns the change with which the segment of this name begins.
pub(super) fn first_seq_of(name: &str) -> Option<u64> {
    let first_seq = name.strip_suffix(".changes")?.parse().ok()?;
    (file_name(first_seq) == name).then_some(first_seq)
}

/// Makes a segment, without any sync.
pub(super) fn create(disk: &dyn Disk, path: &str, header: SegmentHeader) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(path)?;
    file.write_at(&header.encode(), 0)?;
    Ok(file)
}

/// Returns the bytes on disk of a record with a payload of this size.
pub(super) fn record_bytes(payload_bytes: usize) -> usize {
    (RECORD_HEADER_BYTES + payload_bytes).next_multiple_of(ALIGNMENT)
}

pub(super) fn encode(record: &ChangeRecord, offset: u64, synced_seq: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(record_bytes(record.payload.len()));
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(record.payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&record.first_seq.to_le_bytes());
    bytes.extend_from_slice(&record.last_seq.to_le_bytes());
    bytes.extend_from_slice(&record.log_index.to_le_bytes());
    bytes.extend_from_slice(&synced_seq.to_le_bytes());
    bytes.extend_from_slice(&record.payload);
    bytes.resize(record_bytes(record.payload.len()), 0);
    let checksum = checksum(&bytes, offset);
    bytes[..4].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

fn checksum(record: &[u8], offset: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_le_bytes());
    hasher.update(&record[4..]);
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// A record and its place.
pub(super) struct Scanned {
    pub(super) record: ChangeRecord,
    pub(super) synced_seq: u64,
    pub(super) offset: u64,
    /// Offset at which the next record starts.
    pub(super) end: u64,
}

/// Reader of one segment's records in order. Holds no more than one record or 256 KiB in memory.
pub(super) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    path: &'a str,
    /// Offset at which reading stops.
    limit: u64,
    pub(super) offset: u64,
    buffer: Bytes,
    buffer_offset: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, path: &'a str, offset: u64, limit: u64) -> Scanner<'a> {
        Scanner {
            file,
            path,
            limit,
            offset,
            buffer: Bytes::new(),
            buffer_offset: offset,
        }
    }

    pub(super) fn at_end(&self) -> bool {
        self.offset >= self.limit
    }

    /// Returns the record that starts here, or `None` when no valid record starts here.
    pub(super) fn next(&mut self) -> Result<Option<Scanned>, ChangeLogError> {
        let found = self.valid_here()?;
        if let Some(scanned) = &found {
            self.offset = scanned.end;
        }
        Ok(found)
    }

    /// Moves to the next place from here on where a record starts, and reads it.
    pub(super) fn next_after_damage(&mut self) -> Result<Option<Scanned>, ChangeLogError> {
        while !self.at_end() {
            if let Some(scanned) = self.next()? {
                return Ok(Some(scanned));
            }
            self.offset += ALIGNMENT as u64;
        }
        Ok(None)
    }

    fn valid_here(&mut self) -> Result<Option<Scanned>, ChangeLogError> {
        self.fill(RECORD_HEADER_BYTES)?;
        let start = (self.offset - self.buffer_offset) as usize;
        let Some(header) = self.buffer.get(start..start + RECORD_HEADER_BYTES) else {
            return Ok(None);
        };
        let (first_seq, last_seq, synced_seq) = (u64_at(header, 8), u64_at(header, 16), u64_at(header, 32));
        let (payload_bytes, log_index) = (u32_at(header, 4) as usize, u64_at(header, 24));
        let size = record_bytes(payload_bytes);
        let left = self.limit.saturating_sub(self.offset);
        if first_seq == 0 || last_seq < first_seq || synced_seq >= first_seq || size as u64 > left {
            return Ok(None);
        }
        self.fill(size)?;
        let start = (self.offset - self.buffer_offset) as usize;
        let Some(bytes) = self.buffer.get(start..start + size) else {
            return Ok(None);
        };
        if checksum(bytes, self.offset) != u32_at(bytes, 0) {
            return Ok(None);
        }
        let payload_start = start + RECORD_HEADER_BYTES;
        let payload = Bytes::copy_from_slice(&self.buffer[payload_start..payload_start + payload_bytes]);
        let record = ChangeRecord {
            first_seq,
            last_seq,
            log_index,
            payload,
        };
        Ok(Some(Scanned {
            record,
            synced_seq,
            offset: self.offset,
            end: self.offset + size as u64,
        }))
    }

    fn fill(&mut self, bytes: usize) -> Result<(), ChangeLogError> {
        let start = (self.offset - self.buffer_offset) as usize;
        if start + bytes <= self.buffer.len() {
            return Ok(());
        }
        let left = self.limit.saturating_sub(self.offset);
        let wanted = (bytes.max(SCAN_BYTES) as u64).min(left) as usize;
        let mut buffer = vec![0; wanted];
        let read = self
            .file
            .read_at(&mut buffer, self.offset)
            .map_err(FileError::io("read", self.path))?;
        buffer.truncate(read);
        self.buffer = Bytes::from(buffer);
        self.buffer_offset = self.offset;
        Ok(())
    }
}
