//! Mark of how far the log was synced, in its own file beside the segments.
//!
//! ```text
//!  log/synced.mark:   half 0 (4096 bytes)   half 1 (4096 bytes)
//!  half:  | "HFSYNCED" | number | segment | synced through | zeros | CRC-32 |
//! ```
//!
//! A record carries how far its segment was synced when it was written, so it proves every batch except the
//! last one. The mark proves the last one: it is written after the batch's sync and before any callback, and
//! is itself synced when the log is idle. So a killed process always leaves the mark, and a power cut leaves
//! at least the mark of the last idle moment.
//!
//! The halves are written in turn, so a torn mark leaves the one before it. A program that does not know the
//! file leaves it unchanged. The mark stays true even then, because synced bytes are given up only with their
//! whole segment.

use std::io;
use std::sync::Arc;

use super::DIRECTORY;
use super::record::RecordAddress;
use crate::{Disk, DiskFile};

const NAME: &str = "synced.mark";
const MAGIC: &[u8; 8] = b"HFSYNCED";
const HALF_BYTES: usize = 4096;
const MARK_BYTES: usize = 32;

pub(super) fn path() -> String {
    format!("{DIRECTORY}/{NAME}")
}

/// Position up to which everything was synced, in its segment and in all earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    number: u64,
    pub(super) through: RecordAddress,
}

impl Mark {
    fn encode(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.through.segment.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.through.offset.to_le_bytes());
        let checksum = crc32fast::hash(&bytes[..28]);
        bytes[28..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Mark> {
        let bytes: &[u8; MARK_BYTES] = bytes.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let mark = Mark {
            number: u64::from(word(8)) | u64::from(word(12)) << 32,
            through: RecordAddress {
                segment: word(16),
                offset: word(20),
            },
        };
        (mark.encode() == *bytes).then_some(mark)
    }
}

/// Reads the newest intact mark. Returns `None` when there is no mark: an earlier version wrote the log, both
/// halves are damaged, or the file is gone. A caller that knows that there was a mark treats this as damage.
pub(super) fn read(disk: &dyn Disk) -> io::Result<Option<Mark>> {
    let file = match disk.open(&path()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut newest: Option<Mark> = None;
    for half in 0..2 {
        let mut bytes = [0; MARK_BYTES];
        let read = file.read_at(&mut bytes, half * HALF_BYTES as u64)?;
        let found = Mark::decode(&bytes[..read]);
        newest = newest.into_iter().chain(found).max_by_key(|mark| mark.number);
    }
    Ok(newest)
}

/// Writer of the marks. A mark that cannot be written is the end of them: the last one stays true, and the
/// log goes on.
pub(super) struct Marker {
    file: Option<Arc<dyn DiskFile>>,
    last: Mark,
    synced: bool,
}

impl Marker {
    /// Opens the file of marks, and makes it durably if it does not exist.
    pub(super) fn open(disk: &dyn Disk) -> Marker {
        let opened = read(disk).and_then(|last| Ok((last, open_file(disk)?)));
        let (last, file) = match opened {
            Ok((last, file)) => (last, Some(file)),
            Err(error) => {
                stopped(&error);
                (None, None)
            }
        };
        let nothing = Mark {
            number: 0,
            through: RecordAddress {
                segment: 0,
                offset: 0,
            },
        };
        Marker {
            file,
            last: last.unwrap_or(nothing),
            synced: true,
        }
    }

    /// Makes sure that a mark is on the disk, even one that proves nothing.
    pub(super) fn begin(&mut self) {
        if let Some(file) = self.file.as_ref().filter(|_| self.last.number == 0) {
            let first = Mark {
                number: 1,
                ..self.last
            };
            match file.write_at(&first.encode(), HALF_BYTES as u64) {
                Ok(()) => self.last = first,
                Err(error) => self.stop(&error),
            }
        }
        self.sync();
    }

    /// Returns whether there is a mark on the disk.
    pub(super) fn is_there(&self) -> bool {
        self.file.is_some() && self.last.number > 0
    }

    /// Records that everything before this place is synced. Does not sync the mark.
    pub(super) fn note(&mut self, through: RecordAddress) {
        let Some(file) = self.file.as_ref().filter(|_| self.last.through != through) else {
            return;
        };
        let next = Mark {
            number: self.last.number + 1,
            through,
        };
        let half_at = next.number % 2 * HALF_BYTES as u64;
        match file.write_at(&next.encode(), half_at) {
            Ok(()) => {
                self.last = next;
                self.synced = false;
            }
            Err(error) => self.stop(&error),
        }
    }

    pub(super) fn is_synced(&self) -> bool {
        self.synced
    }

    pub(super) fn sync(&mut self) {
        if let Some(Err(error)) = self.file.as_ref().map(|file| file.sync_data()) {
            self.stop(&error);
        }
        self.synced = true;
    }

    fn stop(&mut self, error: &io::Error) {
        stopped(error);
        self.file = None;
        self.synced = true;
    }
}

fn stopped(error: &io::Error) {
    tracing::warn!(
        file = path(),
        %error,
        "cannot mark how far the log is synced: damage in its last batch would be taken for a torn tail"
    );
}

fn open_file(disk: &dyn Disk) -> io::Result<Arc<dyn DiskFile>> {
    let path = path();
    let file = match disk.open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(&path)?,
        file => file?,
    };
    if file.size_bytes()? < 2 * HALF_BYTES as u64 {
        // Zeros are written, so later marks need no space. A larger size alone would not do that.
        file.write_at(&[0; 2 * HALF_BYTES], 0)?;
        file.sync_data()?;
        disk.sync_dir(DIRECTORY)?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::{HALF_BYTES, Marker, RecordAddress, path, read};
    use crate::FaultDisk;

    fn place(segment: u32, offset: u32) -> RecordAddress {
        RecordAddress { segment, offset }
    }

    #[test]
    fn the_newest_intact_mark_counts() {
        let disk = FaultDisk::new(1);
        crate::Disk::create_dir(&disk, super::DIRECTORY).unwrap();
        assert_eq!(read(&disk).unwrap(), None);
        let mut marker = Marker::open(&disk);
        for (segment, offset) in [(1, 4096), (1, 5000), (2, 4200)] {
            marker.note(place(segment, offset));
        }
        assert_eq!(read(&disk).unwrap().unwrap().through, place(2, 4200));
        // After the file is opened again, the marks go on in the other half.
        let mut marker = Marker::open(&disk);
        marker.note(place(2, 4300));
        assert_eq!(read(&disk).unwrap().unwrap().through, place(2, 4300));
        for byte in 0..32 {
            let damaged = disk.content(&path()).unwrap();
            assert!(disk.flip_bit(&path(), byte, 2));
            assert_eq!(read(&disk).unwrap().unwrap().through, place(2, 4200));
            disk.set_content(&path(), damaged);
        }
        assert!(disk.flip_bit(&path(), 10, 0));
        assert!(disk.flip_bit(&path(), HALF_BYTES as u64 + 10, 0));
        assert_eq!(read(&disk).unwrap(), None);
    }

    #[test]
    fn a_mark_that_cannot_be_written_ends_no_log() {
        let disk = FaultDisk::new(1);
        crate::Disk::create_dir(&disk, super::DIRECTORY).unwrap();
        let mut marker = Marker::open(&disk);
        marker.note(place(1, 5000));
        disk.fail_write_after(0);
        marker.note(place(1, 6000));
        marker.note(place(1, 7000));
        marker.sync();
        assert_eq!(read(&disk).unwrap().unwrap().through, place(1, 5000));
    }
}
