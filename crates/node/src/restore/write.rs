//! The writer of a backup's ledgers into an empty data folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use holdfast_storage::{LOCK_FILE, RealDisk};

use super::{FOLDER, RECORD, RestoreError, Restored, folder, ledger_file};
use crate::NodeConfig;

/// The folder that a new file system has in it.
const LOST_AND_FOUND: &str = "lost+found";

/// A restore under way. Nothing counts before [`Restore::finish`]. Its functions wait for the disk.
pub struct Restore {
    data_dir: PathBuf,
    restored: Restored,
    /// Holds the lock of the data folder, so that nobody else works in it meanwhile.
    _disk: RealDisk,
}

impl Restore {
    /// Checks that the configuration fits the backup and that the data folder is empty, and locks the folder.
    /// Removes what an unfinished restore left behind.
    ///
    /// # Errors
    /// [`RestoreError`] says what does not fit.
    pub fn begin(config: &NodeConfig, restored: Restored) -> Result<Self, RestoreError> {
        let count = restored.shards.len();
        if config.shards.count as usize != count {
            return Err(RestoreError::ShardCount {
                backup: count,
                configured: config.shards.count as usize,
            });
        }
        if let Some(shard) = (0..config.shards.count).find(|shard| restored.shard(*shard).is_none()) {
            return Err(RestoreError::MissingShard { shard });
        }
        let cluster_id = restored.cluster_id;
        if config.node.cluster_id.is_none_or(|own| own == cluster_id) {
            return Err(RestoreError::ClusterId { cluster_id });
        }
        let data_dir = config.node.data_dir.clone();
        let disk = RealDisk::open(&data_dir)?;
        check_empty(&data_dir)?;
        let folder = folder(&data_dir);
        if folder.exists() {
            fs::remove_dir_all(&folder).map_err(io(&folder))?;
        }
        fs::create_dir(&folder).map_err(io(&folder))?;
        Ok(Self {
            data_dir,
            restored,
            _disk: disk,
        })
    }

    /// Writes the ledger of one shard. The caller has checked the ledger against its digest.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn ledger(&self, shard: u32, ledger: &[u8]) -> Result<(), RestoreError> {
        write_synced(&ledger_file(&self.data_dir, shard), ledger)
    }

    /// Completes the restore. From then on the folder counts as restored.
    ///
    /// # Errors
    /// A shard's ledger was not written, or the record cannot be written.
    pub fn finish(self) -> Result<(), RestoreError> {
        let written = |shard: u32| ledger_file(&self.data_dir, shard).exists();
        if let Some(missing) = self.restored.shards.iter().find(|known| !written(known.shard)) {
            return Err(RestoreError::MissingShard { shard: missing.shard });
        }
        let folder = folder(&self.data_dir);
        let path = folder.join(RECORD);
        let text = self
            .restored
            .encode()
            .map_err(std::io::Error::from)
            .map_err(io(&path))?;
        sync(&folder)?;
        let unfinished = folder.join("restored.json.tmp");
        write_synced(&unfinished, &text)?;
        fs::rename(&unfinished, &path).map_err(io(&path))?;
        sync(&folder)?;
        sync(&self.data_dir)
    }
}

fn check_empty(data_dir: &Path) -> Result<(), RestoreError> {
    for entry in fs::read_dir(data_dir).map_err(io(data_dir))? {
        let name = entry.map_err(io(data_dir))?.file_name();
        let name = name.to_string_lossy();
        if name != LOCK_FILE && name != LOST_AND_FOUND && name != FOLDER {
            return Err(RestoreError::NotEmpty {
                data_dir: data_dir.to_owned(),
                found: name.into_owned(),
            });
        }
    }
    match super::read_record(data_dir) {
        Ok(None) | Err(RestoreError::Unfinished { .. }) => Ok(()),
        Ok(Some(before)) => Err(RestoreError::AlreadyRestored {
            data_dir: data_dir.to_owned(),
            backup: before.backup,
        }),
        Err(error) => Err(error),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), RestoreError> {
    let mut file = File::create(path).map_err(io(path))?;
    file.write_all(bytes).map_err(io(path))?;
    file.sync_all().map_err(io(path))
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(io(folder))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io { path, source }
}
