//! The ballast: a file without content that holds bytes back. The node gives it up when the disk is full.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::posix_fallocate;

/// The name of the file in the data folder.
pub(crate) const NAME: &str = "ballast";
/// Bytes that are written at a time where the file system cannot allocate.
const STEP_BYTES: usize = 1 << 20;

/// Returns the bytes of a data folder's ballast; 0 without one.
pub(super) fn bytes(folder: &Path) -> u64 {
    fs::metadata(folder.join(NAME)).map_or(0, |file| file.len())
}

/// Gives the ballast this size; 0 removes it. When this returns, its blocks are allocated: the file has no
/// holes.
///
/// # Errors
/// The operating system's error. Without room for it, no ballast is left.
pub(super) fn resize(folder: &Path, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return remove(folder);
    }
    let made = allocate(folder, bytes);
    if made.is_err() {
        // Removes what was allocated of it. The first error says more than a second one.
        let _ = remove(folder);
    }
    made
}

fn allocate(folder: &Path, bytes: u64) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(folder.join(NAME))?;
    if file.metadata()?.len() > bytes {
        file.set_len(bytes)?;
        return file.sync_all();
    }
    let length = i64::try_from(bytes).map_err(io::Error::other)?;
    match posix_fallocate(&file, 0, length) {
        Ok(()) => {}
        Err(Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS) => fill(&file, bytes)?,
        Err(error) => return Err(error.into()),
    }
    file.sync_all()?;
    File::open(folder)?.sync_all()
}

fn fill(file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; STEP_BYTES];
    let mut offset = 0;
    while offset < bytes {
        let step = (bytes - offset).min(STEP_BYTES as u64);
        file.write_all_at(&zeros[..step as usize], offset)?;
        offset += step;
    }
    Ok(())
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_file(folder.join(NAME)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}
