//! Snapshots of one group: written beside the old ones, and checked block by block when read.
//!
//! ```text
//!  begin ─> <number>.tmp: header, meta, blocks ...
//!        ─> finish: end block, sync, rename to <number>.snap, sync the directory
//! ```
//!
//! The newest two are kept, so that there is another one when the newest is damaged. A file is a sequence of
//! blocks:
//!
//! ```text
//!  | CRC-32 | length | kind | zeros | number of the block | content |
//! ```
//!
//! The checksum covers everything after it. The first block is the meta. Then come the content and, last, the
//! total size.

mod read;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

pub use read::SnapshotReader;
pub use write::SnapshotWriter;

use crate::{Disk, FileError, GroupId, Report, SnapshotContents};

/// Directory of all groups' snapshots, below the data directory.
pub(crate) const DIRECTORY: &str = "snapshots";

const MAGIC: &[u8; 8] = b"HFSNAPSH";
const VERSION: u32 = 1;
/// Bytes of a file's header: magic, version, and the checksum of both.
const FILE_HEADER_BYTES: usize = 16;
const BLOCK_HEADER_BYTES: usize = 24;
/// Number of content bytes in a full block.
const BLOCK_BYTES: usize = 256 << 10;
/// Number of finished snapshots that are kept.
const KEPT: usize = 2;

const META: u32 = 1;
const CONTENT: u32 = 2;
const END: u32 = 3;

/// Reason why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file could not be read or written. Nothing of a damaged one may be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// The meta does not fit into its block.
    #[error("the metadata of a snapshot has {bytes} bytes, at most {limit_bytes} are allowed")]
    MetaTooLarge {
        /// Size of the meta in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit_bytes: usize,
    },
}

impl SnapshotError {
    /// Returns whether bytes on disk differ from those that were written.
    pub fn is_damage(&self) -> bool {
        matches!(self, SnapshotError::File(error) if error.is_damage())
    }
}

/// A finished snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Number of the snapshot in its group, ascending.
    pub number: u64,
    /// The meta that the caller gave to [`SnapshotStore::begin`].
    pub meta: Bytes,
    /// Number of bytes of content.
    pub bytes: u64,
}

/// A handle to the snapshots of one group; clones share it.
#[derive(Clone)]
pub struct SnapshotStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<dyn Disk>,
    directory: String,
    numbers: Mutex<Numbers>,
}

struct Numbers {
    /// Numbers of the finished snapshots, oldest first.
    finished: Vec<u64>,
    /// Number of the next snapshot that begins.
    next: u64,
}

impl SnapshotStore {
    /// Opens the group's snapshots and removes half-written ones. Reads no content.
    ///
    /// # Errors
    /// `Io`.
    pub fn open(disk: Arc<dyn Disk>, group: GroupId) -> Result<SnapshotStore, SnapshotError> {
        let directory = format!("{DIRECTORY}/{group}");
        disk.create_dir(&directory)
            .map_err(FileError::io("create", &directory))?;
        for name in disk.list(&directory).map_err(FileError::io("list", &directory))? {
            if name.ends_with(".tmp") {
                let path = format!("{directory}/{name}");
                disk.remove(&path).map_err(FileError::io("remove", &path))?;
            }
        }
        let finished = finished(&*disk, &directory)?;
        let next = finished.last().map_or(1, |number| number + 1);
        let numbers = Mutex::new(Numbers { finished, next });
        Ok(SnapshotStore {
            inner: Arc::new(Inner {
                disk,
                directory,
                numbers,
            }),
        })
    }

    /// Begins a new snapshot. `meta` (at most 256 KiB) describes its content. Nothing is visible before
    /// [`SnapshotWriter::finish`]; dropping the writer removes it.
    ///
    /// # Errors
    /// `Io`, `MetaTooLarge`.
    pub fn begin(&self, meta: Bytes) -> Result<SnapshotWriter, SnapshotError> {
        if meta.len() > BLOCK_BYTES {
            return Err(SnapshotError::MetaTooLarge {
                bytes: meta.len(),
                limit_bytes: BLOCK_BYTES,
            });
        }
        let number = {
            let mut numbers = self.inner.numbers.lock();
            numbers.next += 1;
            numbers.next - 1
        };
        SnapshotWriter::new(self.clone(), number, meta)
    }

    /// Returns the numbers of the finished snapshots, oldest first.
    pub fn list(&self) -> Vec<u64> {
        self.inner.numbers.lock().finished.clone()
    }

    /// Returns the newest snapshot without reading its content, or `None` when there is none.
    ///
    /// # Errors
    /// `Corrupt` when its meta or its end differs from what was written, `UnknownVersion`, `Io`.
    pub fn latest(&self) -> Result<Option<SnapshotFile>, SnapshotError> {
        Ok(self.open_latest()?.map(|reader| reader.file().clone()))
    }

    /// Opens the newest snapshot. Returns `None` when there is none.
    ///
    /// # Errors
    /// The errors of [`SnapshotStore::latest`]. The caller decides whether to fall back to
    /// [`SnapshotStore::open_previous`].
    pub fn open_latest(&self) -> Result<Option<SnapshotReader>, SnapshotError> {
        self.open_from_end(0)
    }

    /// Opens the snapshot before the newest. Returns `None` when there is none.
    ///
    /// # Errors
    /// The errors of [`SnapshotStore::latest`].
    pub fn open_previous(&self) -> Result<Option<SnapshotReader>, SnapshotError> {
        self.open_from_end(1)
    }

    /// Removes the newest snapshot, durably. Then the one before it is the newest.
    ///
    /// # Errors
    /// `Io`.
    pub fn remove_latest(&self) -> Result<(), SnapshotError> {
        let Inner {
            disk,
            directory,
            numbers,
        } = &*self.inner;
        let mut numbers = numbers.lock();
        let Some(number) = numbers.finished.last().copied() else {
            return Ok(());
        };
        let path = path(directory, number);
        disk.remove(&path)
            .and_then(|()| disk.sync_dir(directory))
            .map_err(FileError::io("remove", &path))?;
        numbers.finished.pop();
        Ok(())
    }

    fn open_from_end(&self, back: usize) -> Result<Option<SnapshotReader>, SnapshotError> {
        // The lock is held, so that no finishing writer removes the file in between. Once open, the file may
        // go.
        let numbers = self.inner.numbers.lock();
        let Some(number) = numbers.finished.iter().rev().nth(back).copied() else {
            return Ok(None);
        };
        SnapshotReader::open(&*self.inner.disk, &self.inner.directory, number).map(Some)
    }

    /// Makes a finished file the newest snapshot and removes the oldest if there are too many.
    fn publish(&self, number: u64, temporary: &str) -> Result<(), SnapshotError> {
        let Inner {
            disk,
            directory,
            numbers,
        } = &*self.inner;
        let mut numbers = numbers.lock();
        let path = path(directory, number);
        disk.rename(temporary, &path)
            .map_err(FileError::io("rename", temporary))?;
        disk.sync_dir(directory)
            .map_err(FileError::io("sync", directory))?;
        numbers.finished.push(number);
        numbers.finished.sort_unstable();
        while numbers.finished.len() > KEPT {
            let old = self::path(directory, numbers.finished[0]);
            disk.remove(&old).map_err(FileError::io("remove", &old))?;
            numbers.finished.remove(0);
        }
        Ok(())
    }
}

/// Reads all snapshots of a group for a report.
pub(crate) fn inspect(disk: &dyn Disk, group: GroupId, report: &mut Report) {
    let directory = format!("{DIRECTORY}/{group}");
    let numbers = match finished(disk, &directory) {
        Ok(numbers) => numbers,
        Err(error) => return report.damage.push(error.to_string()),
    };
    for number in numbers {
        let mut bytes = 0;
        let mut read = || -> Result<(), SnapshotError> {
            let mut reader = SnapshotReader::open(disk, &directory, number)?;
            while let Some(block) = reader.next_block()? {
                bytes += block.len() as u64;
            }
            Ok(())
        };
        if let Err(error) = read() {
            report.damage.push(error.to_string());
        }
        report.snapshots.push(SnapshotContents { group, number, bytes });
    }
}

fn path(directory: &str, number: u64) -> String {
    format!("{directory}/{number:020}.snap")
}

/// Returns the numbers of the finished snapshots in a directory, oldest first.
fn finished(disk: &dyn Disk, directory: &str) -> Result<Vec<u64>, SnapshotError> {
    let names = disk.list(directory).map_err(FileError::io("list", directory))?;
    let mut numbers: Vec<u64> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".snap")?.parse().ok())
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn file_header() -> [u8; FILE_HEADER_BYTES] {
    let mut header = [0; FILE_HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let checksum = crc32fast::hash(&header[..12]);
    header[12..].copy_from_slice(&checksum.to_le_bytes());
    header
}

fn block_header(kind: u32, number: u64, content: &[u8]) -> [u8; BLOCK_HEADER_BYTES] {
    let mut header = [0; BLOCK_HEADER_BYTES];
    header[4..8].copy_from_slice(&(content.len() as u32).to_le_bytes());
    header[8..12].copy_from_slice(&kind.to_le_bytes());
    header[16..24].copy_from_slice(&number.to_le_bytes());
    let mut checksum = crc32fast::Hasher::new();
    checksum.update(&header[4..]);
    checksum.update(content);
    header[..4].copy_from_slice(&checksum.finalize().to_le_bytes());
    header
}

#[cfg(test)]
mod tests;
