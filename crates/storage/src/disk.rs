//! Files below a data directory, as the rest of this crate sees them.
//!
//! Everything durable goes through [`Disk`], so the same code runs on [`RealDisk`] and on [`FaultDisk`],
//! which forgets unsynced writes, tears writes, fails syncs, fills up and flips bits.

mod fault;
mod real;

use std::io;
use std::ops::Range;
use std::sync::Arc;

pub use fault::FaultDisk;
pub use real::{DiskError, LOCK_FILE, RealDisk};

/// A tree of files below one root.
///
/// Paths are relative to the root and separated by `/`. A new name, a rename or a removal is durable only
/// after [`Disk::sync_dir`] of its directory; the bytes of a file only after [`DiskFile::sync_data`].
pub trait Disk: Send + Sync + 'static {
    /// Makes an empty file for reading and writing. Fails with `AlreadyExists` if the name is taken.
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Opens an existing file for reading and writing (for reading alone on a read-only disk).
    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>>;

    /// Renames a file, and replaces a file that has the new name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes a directory and its parents. Existing ones are no error. Their names are durable when this
    /// returns.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Returns the names (not paths) in a directory, sorted. A directory that does not exist is empty.
    fn list(&self, dir: &str) -> io::Result<Vec<String>>;

    /// Makes names created, renamed and removed in this directory durable.
    fn sync_dir(&self, dir: &str) -> io::Result<()>;
}

/// One open file. All offsets are bytes from its start.
pub trait DiskFile: Send + Sync + 'static {
    /// Reads until `buffer` is full or the file ends. Returns the number of bytes read.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes all of `bytes`, growing the file if needed.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Makes the written bytes (and the length) durable. After an error nothing may be assumed about writes
    /// since the last success.
    fn sync_data(&self) -> io::Result<()>;

    /// Returns the length in bytes.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Cuts the file or grows it with zeros.
    fn resize(&self, bytes: u64) -> io::Result<()>;
}

/// Writes the readable bytes once more, so that the next sync covers them. After a failed sync the operating
/// system keeps the data in memory and treats it as written. A process that starts again would read it, and a
/// sync would succeed without it.
pub(crate) fn rewrite(file: &dyn DiskFile, range: Range<u64>) -> io::Result<()> {
    const STEP: u64 = 1 << 20;
    let end = range.end.min(file.size_bytes()?);
    let mut offset = range.start;
    while offset < end {
        let mut bytes = vec![0; STEP.min(end - offset) as usize];
        let read = file.read_at(&mut bytes, offset)?;
        file.write_at(&bytes[..read], offset)?;
        offset += bytes.len() as u64;
    }
    Ok(())
}
