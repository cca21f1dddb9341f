//! Snapshots of one group.
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Disk, GroupId};

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The operating system refused.
    #[error("cannot {operation} {file}: {source}")]
    Io {
        /// What was being done.
        operation: &'static str,
        /// The file, relative to the data directory.
        file: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{file} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file, relative to the data directory.
        file: String,
        /// Offset in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// Written by another version.
    #[error("{file} has format version {found}, this program reads version {supported}; use the program that wrote it")]
    UnknownVersion {
        /// The file, relative to the data directory.
        file: String,
        /// The version in the file.
        found: u32,
        /// The version this program reads.
        supported: u32,
    },
}

/// A finished snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Number of the snapshot, growing.
    pub number: u64,
    /// What the caller gave to [`SnapshotStore::begin`].
    pub meta: Bytes,
    /// Bytes of content.
    pub bytes: u64,
}

/// The snapshots of one group; a cheap handle.
#[derive(Clone)]
pub struct SnapshotStore {}

/// A snapshot being written.
pub struct SnapshotWriter {}

/// A snapshot being read.
pub struct SnapshotReader {}

#[allow(unused_variables, missing_docs)]
impl SnapshotStore {
    pub fn open(disk: Arc<dyn Disk>, group: GroupId) -> Result<SnapshotStore, SnapshotError> {
        Ok(SnapshotStore {})
    }
    pub fn begin(&self, meta: Bytes) -> Result<SnapshotWriter, SnapshotError> {
        Ok(SnapshotWriter {})
    }
    pub fn list(&self) -> Vec<u64> {
        Vec::new()
    }
    pub fn latest(&self) -> Result<Option<SnapshotFile>, SnapshotError> {
        Ok(None)
    }
    pub fn open_latest(&self) -> Result<Option<SnapshotReader>, SnapshotError> {
        Ok(None)
    }
    /// Opens the snapshot before the newest, to fall back on.
    pub fn open_previous(&self) -> Result<Option<SnapshotReader>, SnapshotError> {
        Ok(None)
    }
}

#[allow(unused_variables, missing_docs)]
impl SnapshotWriter {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), SnapshotError> {
        Ok(())
    }
    pub fn finish(self) -> Result<SnapshotFile, SnapshotError> {
        Ok(SnapshotFile { number: 0, meta: Bytes::new(), bytes: 0 })
    }
}

#[allow(unused_variables, missing_docs)]
impl SnapshotReader {
    pub fn file(&self) -> SnapshotFile {
        SnapshotFile { number: 0, meta: Bytes::new(), bytes: 0 }
    }
    /// The next checked block, `None` at the end.
    pub fn next_block(&mut self) -> Result<Option<Bytes>, SnapshotError> {
        Ok(None)
    }
    /// All content that is left.
    pub fn read_to_end(&mut self) -> Result<Vec<u8>, SnapshotError> {
        Ok(Vec::new())
    }
}
