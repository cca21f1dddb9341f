//! File system of the machine.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Disk, DiskFile};

/// Name of the file in a data directory that a running node holds locked.
pub const LOCK_FILE: &str = "holdfast.lock";

/// Reason why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Another process works in the directory. Two would destroy each other's log.
    #[error(
        "the data folder {directory} is in use by another process{holder}; stop it first, or choose another folder"
    )]
    InUse {
        /// Path of the directory.
        directory: String,
        /// Contains ` (pid N)` when the other process wrote its number down.
        holder: String,
    },
    /// The directory cannot be made or used.
    #[error("cannot use the data folder {directory}: {source}")]
    Io {
        /// Path of the directory.
        directory: String,
        /// Error of the operating system.
        source: io::Error,
    },
}

/// A directory of the machine's file system.
#[derive(Debug)]
pub struct RealDisk {
    root: PathBuf,
    /// Lock that this value holds while it lives; `None` when read-only.
    lock: Option<File>,
}

impl RealDisk {
    /// Opens `root` for this process alone, making it if needed. The lock ends with the process, however that
    /// ends.
    pub fn open(root: &Path) -> Result<RealDisk, DiskError> {
        let failed = |source| DiskError::Io {
            directory: root.display().to_string(),
            source,
        };
        fs::create_dir_all(root).map_err(failed)?;
        let path = root.join(LOCK_FILE);
        let lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let lock = lock.map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&path).unwrap_or_default();
                let holder = pid
                    .trim()
                    .parse::<u32>()
                    .map(|pid| format!(" (pid {pid})"))
                    .unwrap_or_default();
                return Err(DiskError::InUse {
                    directory: root.display().to_string(),
                    holder,
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        if let Err(error) = note_holder(&lock) {
            // The disk is full. The number is only for people who ask which process has the lock.
            tracing::warn!(%error, "the number of this process could not be written into the lock file");
        }
        Ok(RealDisk {
            root: root.to_path_buf(),
            lock: Some(lock),
        })
    }

    /// Opens `root` for reading. Takes no lock, so it works beside a running node; every change fails.
    pub fn open_read_only(root: &Path) -> Result<RealDisk, DiskError> {
        let failed = |source| DiskError::Io {
            directory: root.display().to_string(),
            source,
        };
        if !fs::metadata(root).map_err(failed)?.is_dir() {
            return Err(failed(io::ErrorKind::NotADirectory.into()));
        }
        Ok(RealDisk {
            root: root.to_path_buf(),
            lock: None,
        })
    }

    /// Returns whether a node has the directory open.
    pub(crate) fn in_use(&self) -> bool {
        let lock = File::open(self.root.join(LOCK_FILE));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    fn writable(&self, path: &str) -> io::Result<PathBuf> {
        match self.lock {
            Some(_) => Ok(self.root.join(path)),
            None => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }
}

/// Writes down which process has the lock. Overwrites the earlier number, which needs no space.
fn note_holder(lock: &File) -> io::Result<()> {
    let pid = std::process::id().to_string();
    lock.write_all_at(pid.as_bytes(), 0)?;
    lock.set_len(pid.len() as u64)
}

impl Disk for RealDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(self.writable(path)?)?;
        Ok(Arc::new(RealFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(self.lock.is_some())
            .open(self.root.join(path))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.writable(from)?, self.writable(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.writable(path)?)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let directory = self.writable(path)?;
        fs::create_dir_all(&directory)?;
        for ancestor in directory.ancestors().skip(1) {
            File::open(ancestor)?.sync_all()?;
            if ancestor == self.root {
                break;
            }
        }
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.root.join(dir)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        File::open(self.root.join(dir))?.sync_all()
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(bytes) => filled += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        self.0.set_len(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_cannot_be_written_down_is_held_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        // Every write to this file fails for lack of space.
        std::os::unix::fs::symlink("/dev/full", folder.path().join(LOCK_FILE)).unwrap();
        let disk = RealDisk::open(folder.path()).unwrap();
        assert!(disk.in_use());
    }

    #[test]
    fn the_number_of_the_process_that_has_the_lock_is_written_over_a_longer_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOCK_FILE);
        fs::write(&path, "12345678901234567890").unwrap();
        let _held = RealDisk::open(folder.path()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), std::process::id().to_string());
    }
}
