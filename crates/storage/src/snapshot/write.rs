//! Writer of one snapshot.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    BLOCK_BYTES, CONTENT, END, FILE_HEADER_BYTES, META, SnapshotError, SnapshotFile, SnapshotStore,
    block_header, file_header,
};
use crate::{DiskFile, FileError};

/// Writer of a snapshot. Leaves nothing when it is dropped before [`SnapshotWriter::finish`].
pub struct SnapshotWriter {
    store: SnapshotStore,
    file: Arc<dyn DiskFile>,
    temporary: String,
    snapshot: SnapshotFile,
    block: Vec<u8>,
    blocks: u64,
    offset: u64,
    finished: bool,
}

impl SnapshotWriter {
    pub(super) fn new(
        store: SnapshotStore,
        number: u64,
        meta: Bytes,
    ) -> Result<SnapshotWriter, SnapshotError> {
        let temporary = format!("{}/{number:020}.tmp", store.inner.directory);
        let file = store
            .inner
            .disk
            .create(&temporary)
            .map_err(FileError::io("create", &temporary))?;
        let snapshot = SnapshotFile {
            number,
            meta: meta.clone(),
            bytes: 0,
        };
        let offset = FILE_HEADER_BYTES as u64;
        let block = Vec::with_capacity(BLOCK_BYTES);
        let mut writer = SnapshotWriter {
            store,
            file,
            temporary,
            snapshot,
            block,
            blocks: 0,
            offset,
            finished: false,
        };
        let header = writer.file.write_at(&file_header(), 0);
        header.map_err(FileError::io("write", &writer.temporary))?;
        writer.put(META, &meta)?;
        Ok(writer)
    }

    /// Appends content of any length.
    ///
    /// # Errors
    /// `Io`; then the snapshot cannot be used.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        self.snapshot.bytes += bytes.len() as u64;
        while !bytes.is_empty() {
            let room = BLOCK_BYTES - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK_BYTES {
                self.put_content()?;
            }
        }
        Ok(())
    }

    /// Makes the snapshot durable and the newest one. The one before it is kept.
    ///
    /// # Errors
    /// `Io`; then the older snapshots are still there.
    pub fn finish(mut self) -> Result<SnapshotFile, SnapshotError> {
        if !self.block.is_empty() {
            self.put_content()?;
        }
        self.put(END, &self.snapshot.bytes.to_le_bytes())?;
        self.file
            .sync_data()
            .map_err(FileError::io("sync", &self.temporary))?;
        self.store.publish(self.snapshot.number, &self.temporary)?;
        self.finished = true;
        Ok(self.snapshot.clone())
    }

    fn put_content(&mut self) -> Result<(), SnapshotError> {
        let block = std::mem::take(&mut self.block);
        self.put(CONTENT, &block)?;
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn put(&mut self, kind: u32, content: &[u8]) -> Result<(), SnapshotError> {
        let header = block_header(kind, self.blocks, content);
        let content_offset = self.offset + header.len() as u64;
        let written = self.file.write_at(&header, self.offset);
        let written = written.and_then(|()| self.file.write_at(content, content_offset));
        written.map_err(FileError::io("write", &self.temporary))?;
        self.blocks += 1;
        self.offset = content_offset + content.len() as u64;
        Ok(())
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // A file that cannot be removed here is removed at the next start.
            let _ = self.store.inner.disk.remove(&self.temporary);
        }
    }
}
