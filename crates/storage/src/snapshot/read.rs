//! Reader of one snapshot.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    BLOCK_BYTES, BLOCK_HEADER_BYTES, CONTENT, END, FILE_HEADER_BYTES, MAGIC, META, SnapshotError,
    SnapshotFile, VERSION, block_header, file_header, path,
};
use crate::{Disk, DiskFile, FileError};

/// Reader of a snapshot from its start. Every block is checked before any of it is returned.
pub struct SnapshotReader {
    file: Arc<dyn DiskFile>,
    path: String,
    snapshot: SnapshotFile,
    /// Number of the next block.
    block: u64,
    offset: u64,
    /// Content returned so far, in bytes.
    given: u64,
    ended: bool,
}

impl SnapshotReader {
    /// Opens a finished snapshot, and checks its header, meta and end.
    pub(crate) fn open(
        disk: &dyn Disk,
        directory: &str,
        number: u64,
    ) -> Result<SnapshotReader, SnapshotError> {
        let path = path(directory, number);
        let file = disk.open(&path).map_err(FileError::io("open", &path))?;
        let offset = FILE_HEADER_BYTES as u64;
        let snapshot = SnapshotFile {
            number,
            meta: Bytes::new(),
            bytes: 0,
        };
        let mut reader = SnapshotReader {
            file,
            path,
            snapshot,
            block: 0,
            offset,
            given: 0,
            ended: false,
        };
        reader.check_file_header()?;
        reader.snapshot.bytes = reader.total_bytes()?;
        let (kind, meta) = reader.read_block()?;
        if kind != META {
            return Err(reader.corrupt(offset, "the first block is not the meta"));
        }
        reader.snapshot.meta = meta;
        Ok(reader)
    }

    /// Returns the snapshot that is read.
    pub fn file(&self) -> &SnapshotFile {
        &self.snapshot
    }

    /// Returns the next piece of the content (256 KiB, the last one less), or `None` at the end.
    ///
    /// # Errors
    /// `Corrupt` when the piece differs from the one that was written. Earlier pieces were intact, but the
    /// snapshot cannot be used.
    pub fn next_block(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        if self.ended {
            return Ok(None);
        }
        let offset = self.offset;
        let (kind, content) = self.read_block()?;
        match kind {
            CONTENT => {
                self.given += content.len() as u64;
                Ok(Some(content))
            }
            END if self.given == self.snapshot.bytes && content[..] == self.given.to_le_bytes() => {
                self.ended = true;
                Ok(None)
            }
            _ => Err(self.corrupt(offset, "blocks are missing or not where they belong")),
        }
    }

    /// Returns the rest of the content.
    ///
    /// # Errors
    /// The errors of [`SnapshotReader::next_block`].
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, SnapshotError> {
        let mut content = Vec::new();
        while let Some(block) = self.next_block()? {
            content.extend_from_slice(&block);
        }
        Ok(content)
    }

    fn check_file_header(&self) -> Result<(), SnapshotError> {
        let mut header = [0; FILE_HEADER_BYTES];
        self.file
            .read_at(&mut header, 0)
            .map_err(FileError::io("read", &self.path))?;
        if header == file_header() {
            return Ok(());
        }
        let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        if &header[..8] == MAGIC
            && crc32fast::hash(&header[..12]).to_le_bytes() == header[12..]
            && found != VERSION
        {
            return Err(SnapshotError::File(FileError::UnknownVersion {
                file: self.path.clone(),
                found,
                supported: VERSION,
            }));
        }
        Err(self.corrupt(0, "its header is not one"))
    }

    /// Returns the content size that the end block, the last one in the file, carries.
    fn total_bytes(&self) -> Result<u64, SnapshotError> {
        let end_bytes = (BLOCK_HEADER_BYTES + 8) as u64;
        let size = self
            .file
            .size_bytes()
            .map_err(FileError::io("read", &self.path))?;
        let Some(start) = size
            .checked_sub(end_bytes)
            .filter(|start| *start >= FILE_HEADER_BYTES as u64)
        else {
            return Err(self.corrupt(size, "the file is cut short"));
        };
        let mut end = [0; BLOCK_HEADER_BYTES + 8];
        self.file
            .read_at(&mut end, start)
            .map_err(FileError::io("read", &self.path))?;
        let mut number = [0; 8];
        number.copy_from_slice(&end[16..24]);
        let header = block_header(END, u64::from_le_bytes(number), &end[BLOCK_HEADER_BYTES..]);
        if header != end[..BLOCK_HEADER_BYTES] {
            return Err(self.corrupt(start, "its end is not one"));
        }
        let mut total = [0; 8];
        total.copy_from_slice(&end[BLOCK_HEADER_BYTES..]);
        Ok(u64::from_le_bytes(total))
    }

    fn read_block(&mut self) -> Result<(u32, Bytes), SnapshotError> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        let read = self
            .file
            .read_at(&mut header, self.offset)
            .map_err(FileError::io("read", &self.path))?;
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (length, kind) = (number(4) as usize, number(8));
        if read < BLOCK_HEADER_BYTES || length > BLOCK_BYTES {
            return Err(self.corrupt(self.offset, "the block's header is not one"));
        }
        let mut content = vec![0; length];
        let content_offset = self.offset + BLOCK_HEADER_BYTES as u64;
        let read = self
            .file
            .read_at(&mut content, content_offset)
            .map_err(FileError::io("read", &self.path))?;
        if read < length || block_header(kind, self.block, &content) != header {
            return Err(self.corrupt(self.offset, "the block's checksum does not match"));
        }
        self.block += 1;
        self.offset = content_offset + length as u64;
        Ok((kind, Bytes::from(content)))
    }

    fn corrupt(&self, offset: u64, what: &str) -> SnapshotError {
        SnapshotError::File(FileError::Corrupt {
            file: self.path.clone(),
            offset,
            what: what.to_string(),
        })
    }
}
