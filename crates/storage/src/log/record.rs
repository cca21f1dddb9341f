//! Layout of one record on disk.
//!
//! ```text
//!  0        4        8         12               16      20     24      32
//!  | CRC-32 | length | segment | synced through | group | kind | index | payload | zeros to a multiple of 8 |
//! ```
//!
//! All numbers are little endian. The checksum covers everything after itself and also the record's offset,
//! which is not stored: a record is valid only at the place where it was written. `segment` is the id of the
//! segment to which the record was written, so bytes from an earlier use of a recycled file are never valid.
//! `synced through` is how far this segment had been synced when the record was written. It separates damage
//! from a torn tail: in a torn tail, no later valid record reports the torn one as synced.

use crate::GroupId;

/// Number of bytes before the payload.
pub(super) const HEADER_BYTES: usize = 32;

/// Records start at multiples of this many bytes.
pub(super) const ALIGNMENT: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// An entry of a group's log.
    Entry = 1,
    /// The entries from `index` on are gone.
    Truncate = 2,
    /// The entries through `index` are gone; the payload is the caller's marker.
    Purge = 3,
    /// The group's vote.
    Vote = 4,
    /// The group's commit position.
    Committed = 5,
    /// A live entry that was copied forward, so that its old segment can go.
    Moved = 6,
    /// A record that has only its `synced through`.
    Mark = 7,
    /// The last record of a full segment.
    Seal = 8,
}

impl Kind {
    fn from_number(number: u32) -> Option<Kind> {
        use Kind::{Committed, Entry, Mark, Moved, Purge, Seal, Truncate, Vote};
        [Entry, Truncate, Purge, Vote, Committed, Moved, Mark, Seal]
            .into_iter()
            .find(|kind| *kind as u32 == number)
    }
}

/// Place at which a record is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordAddress {
    pub(super) segment: u32,
    pub(super) offset: u32,
}

/// Header of a record, without its payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) group: GroupId,
    pub(super) index: u64,
    pub(super) synced_through: u32,
    pub(super) payload_bytes: u32,
    checksum: u32,
}

impl Header {
    /// Reads a header if it could be one at `place`. Cheap, because it does not check the checksum.
    pub(super) fn plausible(bytes: &[u8], place: RecordAddress) -> Option<Header> {
        let header = bytes.get(..HEADER_BYTES)?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if number(8) != place.segment || number(12) > place.offset {
            return None;
        }
        Some(Header {
            kind: Kind::from_number(number(20))?,
            group: number(16),
            index: u64::from(number(24)) | u64::from(number(28)) << 32,
            synced_through: number(12),
            payload_bytes: number(4),
            checksum: number(0),
        })
    }

    /// Returns the bytes of the whole record on disk.
    pub(super) fn record_bytes(&self) -> usize {
        record_bytes(self.payload_bytes as usize)
    }

    /// Returns whether `record`, a whole record starting with this header, equals the one that was written at
    /// `place`.
    pub(super) fn matches(&self, record: &[u8], place: RecordAddress) -> bool {
        record.len() == self.record_bytes() && checksum(&record[4..], place) == self.checksum
    }
}

/// Returns the bytes on disk of a record with a payload of this size.
pub(super) fn record_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(ALIGNMENT)
}

/// Appends a record to `buffer`; `payload_bytes` is taken from `payload`.
pub(super) fn encode(
    buffer: &mut Vec<u8>,
    place: RecordAddress,
    synced_through: u32,
    kind: Kind,
    group: GroupId,
    index: u64,
    payload: &[u8],
) {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    buffer.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&place.segment.to_le_bytes());
    buffer.extend_from_slice(&synced_through.to_le_bytes());
    buffer.extend_from_slice(&group.to_le_bytes());
    buffer.extend_from_slice(&(kind as u32).to_le_bytes());
    buffer.extend_from_slice(&index.to_le_bytes());
    buffer.extend_from_slice(payload);
    buffer.resize(start + record_bytes(payload.len()), 0);
    let checksum = checksum(&buffer[start + 4..], place);
    buffer[start..start + 4].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(after_checksum: &[u8], place: RecordAddress) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&place.offset.to_le_bytes());
    hasher.update(after_checksum);
    hasher.finalize()
}
