//! What is done to a node's files.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Cluster;

/// Of a log file, for what is not an entry.
const LOG_HEAD_BYTES: usize = 4096;

/// A byte of a node's log that is another one than was written.
#[derive(Debug)]
pub struct Damage {
    file: PathBuf,
    at: usize,
}

impl Damage {
    /// Makes it what it was, or undoes that.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn flip(&self) -> Result<()> {
        let mut bytes = std::fs::read(&self.file)?;
        let byte = bytes.get_mut(self.at).context("the file is shorter now")?;
        *byte ^= 0x10;
        Ok(std::fs::write(&self.file, bytes)?)
    }
}

impl Cluster {
    /// From now on each of a node's writes to a file fails, as on a full disk. (It is a limit of its process: prlimit(1).)
    ///
    /// # Errors
    /// When it does not run, or `prlimit` is not there.
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

    /// Changes a byte in the middle of what is written of a stopped node's newest log file.
    ///
    /// # Errors
    /// When there is no log.
    pub fn damage_log(&self, node: usize) -> Result<Damage> {
        let folder = self.folder.path().join(format!("node-{}", node + 1)).join("log");
        let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
            .with_context(|| folder.display().to_string())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()?;
        files.sort();
        let written = |file: &PathBuf| {
            let bytes = std::fs::read(file).ok()?;
            let end = bytes.iter().rposition(|byte| *byte != 0)?;
            (end > LOG_HEAD_BYTES).then(|| Damage {
                file: file.clone(),
                at: LOG_HEAD_BYTES + (end - LOG_HEAD_BYTES) / 2,
            })
        };
        let damage = files
            .iter()
            .rev()
            .find_map(written)
            .context("the node has no log")?;
        damage.flip()?;
        Ok(damage)
    }
}
