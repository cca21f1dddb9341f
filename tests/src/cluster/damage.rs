//! Damage to a node's files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Cluster;

/// Bytes before the records of a log file.
const LOG_HEAD_BYTES: usize = 4096;

/// The files of a node that are damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Region {
    /// The last batch of the log that the node confirmed.
    LastBatch,
    /// The middle of the log.
    Log,
    /// The newest snapshot of a shard.
    Snapshot,
    /// The change history of a shard.
    Changes,
    /// The facts that the node knows about itself.
    Facts,
}

/// A byte of a node's files that can be changed and restored.
#[derive(Debug)]
pub struct Damage {
    file: PathBuf,
    at: usize,
}

impl Damage {
    /// Changes the byte, or restores it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flip(&self) -> Result<()> {
        let mut bytes = std::fs::read(&self.file)?;
        let byte = bytes.get_mut(self.at).context("the file is shorter now")?;
        *byte ^= 0x10;
        Ok(std::fs::write(&self.file, bytes)?)
    }

    /// Finds the middle of the part of a file that holds data.
    fn in_the_middle(file: PathBuf, head: usize) -> Option<Self> {
        let bytes = std::fs::read(&file).ok()?;
        let end = bytes.iter().rposition(|byte| *byte != 0)?;
        (end > head).then(|| Self {
            file,
            at: head + (end - head) / 2,
        })
    }
}

/// Returns the files below a folder, sorted by their paths.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(files(&path)?),
            false => found.push(path),
        }
    }
    found.sort();
    Ok(found)
}

/// Finds the last byte of the log that was synced, according to the log's own mark.
fn last_synced(log: &Path) -> Result<Damage> {
    let marks = std::fs::read(log.join("synced.mark"))?;
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))
    };
    let newest = [0, 4096]
        .into_iter()
        .filter_map(|slot| marks.get(slot..slot + 24))
        .max_by_key(|mark| number(&mark[8..16]))
        .context("the log has no mark")?;
    let (segment, end) = (number(&newest[16..20]), number(&newest[20..24]));
    let damage = Damage {
        file: log.join(format!("{segment:010}.wal")),
        // The last record ends with its payload, and up to 7 zeros.
        at: usize::try_from(end)? - 9,
    };
    ensure!(damage.at > LOG_HEAD_BYTES, "nothing was synced");
    Ok(damage)
}

impl Cluster {
    /// Makes each of a node's writes to a file fail from this call on, as on a full disk. (It sets a limit of
    /// the process: prlimit(1).)
    ///
    /// # Errors
    /// When the node does not run, or `prlimit` is not installed.
    pub fn refuse_writes(&self, node: usize) -> Result<()> {
        let process = self.nodes[node]
            .process
            .as_ref()
            .context("the node does not run")?;
        let status = Command::new("prlimit")
            .args(["--pid", &process.id().to_string(), "--fsize=1"])
            .status()?;
        ensure!(status.success(), "prlimit ended with {status}");
        Ok(())
    }

    /// Changes a byte of a stopped node's files.
    ///
    /// # Errors
    /// When there is no such file.
    pub fn damage(&self, node: usize, region: Region) -> Result<Damage> {
        let damage = self.damageable(node, region)?;
        damage.flip()?;
        Ok(damage)
    }

    /// Finds a byte of a node's files that can be damaged.
    ///
    /// # Errors
    /// When there is no such file (yet).
    pub fn damageable(&self, node: usize, region: Region) -> Result<Damage> {
        let folder = self.data_folder(node);
        let newest = |below: &str, ending: &str, head: usize| -> Result<Damage> {
            let files = files(&folder.join(below))?.into_iter().rev();
            let mut named = files.filter(|file| file.to_string_lossy().ends_with(ending));
            named
                .find_map(|file| Damage::in_the_middle(file, head))
                .with_context(|| format!("the node has no {region:?}"))
        };
        match region {
            Region::LastBatch => last_synced(&folder.join("log")),
            Region::Log => newest("log", ".wal", LOG_HEAD_BYTES),
            Region::Snapshot => newest("snapshots", ".snap", 0),
            Region::Changes => newest("changes", ".changes", 0),
            Region::Facts => newest("facts", "db", 0),
        }
    }

    /// Returns the path of a node's data folder.
    pub fn data_folder(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}", node + 1))
    }

    /// Returns how often a node has put damaged data aside.
    pub fn put_aside(&self, node: usize) -> usize {
        let aside = self.data_folder(node).join("damaged");
        std::fs::read_dir(aside).map_or(0, Iterator::count)
    }

    /// Removes what a node has put aside, as an operator does.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget_put_aside(&self, node: usize) -> Result<()> {
        let aside = self.data_folder(node).join("damaged");
        match std::fs::remove_dir_all(aside) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed?),
        }
    }
}
