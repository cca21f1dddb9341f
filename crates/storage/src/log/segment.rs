//! One segment file of the log: its name, its header page, how it is made, and the scan of its records.

use std::io;
use std::sync::Arc;

use super::record::{ALIGNMENT, HEADER_BYTES, Header, RecordAddress};
use super::{DIRECTORY, LogError};
use crate::{Disk, DiskFile};

/// Offset at which the records start. The header has its own page, so it is never rewritten with the records
/// after it.
pub(super) const RECORDS_START: u32 = 4096;

const MAGIC: &[u8; 8] = b"HFLOGSEG";
pub(super) const VERSION: u32 = 1;
const SCAN_BYTES: usize = 1 << 20;

/// Returns the name of a segment in the log's directory.
pub(super) fn file_name(id: u32) -> String {
    format!("{id:010}.wal")
}

/// Returns the path of a segment below the data directory.
pub(super) fn path(id: u32) -> String {
    format!("{DIRECTORY}/{}", file_name(id))
}

/// Returns the id of the segment with this file name.
pub(super) fn id_of(name: &str) -> Option<u32> {
    let id = name.strip_suffix(".wal")?.parse().ok()?;
    (file_name(id) == name).then_some(id)
}

fn header_page(id: u32, recycled: bool) -> Vec<u8> {
    let mut page = vec![0; RECORDS_START as usize];
    page[..8].copy_from_slice(MAGIC);
    page[8..12].copy_from_slice(&VERSION.to_le_bytes());
    page[12..16].copy_from_slice(&id.to_le_bytes());
    page[16] = u8::from(recycled);
    let checksum = crc32fast::hash(&page[..RECORDS_START as usize - 4]);
    page[RECORDS_START as usize - 4..].copy_from_slice(&checksum.to_le_bytes());
    page
}

/// Content of a file's header page.
pub(super) enum HeaderPage {
    Good {
        /// Whether the file was used before. If so, bytes after its records may be left from then.
        recycled: bool,
    },
    OtherVersion(u32),
    Damaged,
}

pub(super) fn read_header_page(file: &dyn DiskFile, id: u32) -> io::Result<HeaderPage> {
    let mut page = vec![0; RECORDS_START as usize];
    file.read_at(&mut page, 0)?;
    let recycled = page[16] == 1;
    if page == header_page(id, recycled) {
        return Ok(HeaderPage::Good { recycled });
    }
    let (content, checksum) = page.split_at(RECORDS_START as usize - 4);
    let version = u32::from_le_bytes([page[8], page[9], page[10], page[11]]);
    let intact = crc32fast::hash(content).to_le_bytes() == checksum && &page[..8] == MAGIC;
    if intact && version != VERSION {
        return Ok(HeaderPage::OtherVersion(version));
    }
    Ok(HeaderPage::Damaged)
}

/// Makes segment `id`, ready to be written. Every block is on disk already, so that the sync of a write needs
/// no metadata.
///
/// With `recycle`, that file (a path) is used again instead of filling a new one with zeros.
pub(super) fn prepare(
    disk: &dyn Disk,
    id: u32,
    segment_bytes: u32,
    recycle: Option<&str>,
) -> io::Result<Arc<dyn DiskFile>> {
    let temporary = recycle.map_or_else(|| format!("{DIRECTORY}/{id:010}.tmp"), str::to_string);
    let used = match recycle {
        Some(path) => {
            Some(disk.open(path)?).filter(|file| file.size_bytes().ok() == Some(u64::from(segment_bytes)))
        }
        None => None,
    };
    let recycled = used.is_some();
    let file = match used {
        Some(file) => file,
        None => zero_filled(disk, &temporary, segment_bytes)?,
    };
    file.write_at(&header_page(id, recycled), 0)?;
    file.sync_data()?;
    disk.rename(&temporary, &path(id))?;
    disk.sync_dir(DIRECTORY)?;
    Ok(file)
}

fn zero_filled(disk: &dyn Disk, path: &str, bytes: u32) -> io::Result<Arc<dyn DiskFile>> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.create(path)?;
    let zeros = vec![0; SCAN_BYTES.min(bytes as usize)];
    let mut offset = 0;
    while offset < bytes as usize {
        let step = zeros.len().min(bytes as usize - offset);
        file.write_at(&zeros[..step], offset as u64)?;
        offset += step;
        // Synced in steps, so that the log's own syncs do not wait behind one long sync.
        file.sync_data()?;
    }
    Ok(file)
}

/// A valid record in a segment.
pub(super) struct Scanned<'a> {
    pub(super) header: Header,
    pub(super) place: RecordAddress,
    pub(super) payload: &'a [u8],
}

/// Reader of one segment's records in order. Holds no more than one record or a megabyte in memory.
pub(super) struct Scanner<'a> {
    file: &'a dyn DiskFile,
    segment: u32,
    size_bytes: u64,
    offset: u64,
    buffer: Vec<u8>,
    buffer_offset: u64,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(file: &'a dyn DiskFile, segment: u32) -> Result<Scanner<'a>, LogError> {
        let size_bytes = file
            .size_bytes()
            .map_err(|error| LogError::io("read", path(segment), error))?;
        let offset = u64::from(RECORDS_START);
        let size_bytes = size_bytes.min(u64::from(u32::MAX));
        Ok(Scanner {
            file,
            segment,
            size_bytes,
            offset,
            buffer: Vec::new(),
            buffer_offset: offset,
        })
    }

    /// Returns where the next record starts, or where the valid ones end.
    pub(super) fn offset(&self) -> u32 {
        self.offset as u32
    }

    pub(super) fn place(&self) -> RecordAddress {
        RecordAddress {
            segment: self.segment,
            offset: self.offset as u32,
        }
    }

    /// Returns the next record, or `None` when no valid record starts here.
    pub(super) fn next(&mut self) -> Result<Option<Scanned<'_>>, LogError> {
        let Some(header) = self.valid_here()? else {
            return Ok(None);
        };
        let place = self.place();
        let start = (self.offset - self.buffer_offset) as usize + HEADER_BYTES;
        self.offset += header.record_bytes() as u64;
        let payload = &self.buffer[start..start + header.payload_bytes as usize];
        Ok(Some(Scanned {
            header,
            place,
            payload,
        }))
    }

    /// Skips to the next place from here on where a valid record starts, and returns its header. `next` then
    /// reads the record.
    pub(super) fn skip_to_valid(&mut self) -> Result<Option<Header>, LogError> {
        let segment = self.segment.to_le_bytes();
        while self.offset + HEADER_BYTES as u64 <= self.size_bytes {
            self.fill(HEADER_BYTES)?;
            let start = (self.offset - self.buffer_offset) as usize;
            let Some(bytes) = self
                .buffer
                .get(start..)
                .filter(|bytes| bytes.len() >= HEADER_BYTES)
            else {
                break;
            };
            let places = bytes.chunks_exact(ALIGNMENT).skip(1);
            let Some(candidate) = places.clone().position(|chunk| chunk[..4] == segment) else {
                self.offset += (places.len() * ALIGNMENT) as u64;
                continue;
            };
            self.offset += (candidate * ALIGNMENT) as u64;
            if let Some(header) = self.valid_here()? {
                return Ok(Some(header));
            }
            self.offset += ALIGNMENT as u64;
        }
        Ok(None)
    }

    /// Returns the header at this place, if it could be one of this segment.
    pub(super) fn remains_here(&mut self) -> Result<Option<Header>, LogError> {
        self.fill(HEADER_BYTES)?;
        let start = (self.offset - self.buffer_offset) as usize;
        Ok(Header::plausible(&self.buffer[start..], self.place()))
    }

    /// Returns the offset from which on all bytes to the end of the file are zero.
    pub(super) fn zeros_from(&mut self) -> Result<u64, LogError> {
        let (mut zeros_from, here) = (self.offset, self.offset);
        while self.offset < self.size_bytes {
            self.fill(1)?;
            let start = (self.offset - self.buffer_offset) as usize;
            let bytes = &self.buffer[start..];
            if bytes.is_empty() {
                break;
            }
            if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
                zeros_from = self.offset + last as u64 + 1;
            }
            self.offset += bytes.len() as u64;
        }
        self.offset = here;
        self.buffer.clear();
        self.buffer_offset = here;
        Ok(zeros_from)
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn valid_here(&mut self) -> Result<Option<Header>, LogError> {
        self.fill(HEADER_BYTES)?;
        let start = (self.offset - self.buffer_offset) as usize;
        let Some(header) = Header::plausible(&self.buffer[start..], self.place()) else {
            return Ok(None);
        };
        if header.record_bytes() as u64 > self.size_bytes.saturating_sub(self.offset) {
            return Ok(None);
        }
        self.fill(header.record_bytes())?;
        let start = (self.offset - self.buffer_offset) as usize;
        let record = self.buffer.get(start..start + header.record_bytes());
        Ok(record
            .is_some_and(|record| header.matches(record, self.place()))
            .then_some(header))
    }

    /// Fills the buffer with at least `bytes` from the current offset, or with the rest of the file.
    fn fill(&mut self, bytes: usize) -> Result<(), LogError> {
        let start = (self.offset - self.buffer_offset) as usize;
        if start + bytes <= self.buffer.len() {
            return Ok(());
        }
        let left = self.size_bytes.saturating_sub(self.offset) as usize;
        self.buffer.clear();
        self.buffer_offset = self.offset;
        self.buffer.resize(bytes.max(SCAN_BYTES).min(left), 0);
        let read = self.file.read_at(&mut self.buffer, self.offset);
        let read = read.map_err(|error| LogError::io("read", path(self.segment), error))?;
        self.buffer.truncate(read);
        Ok(())
    }
}
