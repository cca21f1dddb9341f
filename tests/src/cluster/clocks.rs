//! A clock for each node: libfaketime stands between the process and the machine's clock, for the time of day
//! alone. Time that only passes (timers, election timeouts) stays as it is.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use anyhow::Result;

/// Greatest difference, in milliseconds, between the time that was set and the time that a node shows,
/// however long its answer took.
const SHOWN_WITHIN_MS: i128 = 60_000;

/// The clocks of all nodes.
#[derive(Debug)]
pub(super) struct Clocks {
    library: PathBuf,
    /// Files that say how far each clock is ahead.
    files: Vec<PathBuf>,
}

impl Clocks {
    /// Makes clocks that are right, if libfaketime is installed.
    pub(super) fn find(folder: &Path, nodes: usize) -> Result<Option<Self>> {
        let Some(library) = library() else {
            return Ok(None);
        };
        let files = (0..nodes).map(|node| folder.join(format!("node-{}.clock", node + 1)));
        let clocks = Self {
            library,
            files: files.collect(),
        };
        for node in 0..nodes {
            clocks.set(node, 0)?;
        }
        Ok(Some(clocks))
    }

    /// Makes a node use its own clock once it is started.
    pub(super) fn give(&self, node: usize, command: &mut Command) {
        command
            .env("LD_PRELOAD", &self.library)
            .env("FAKETIME_TIMESTAMP_FILE", &self.files[node])
            // Seconds after which a clock file is read again.
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("DONT_FAKE_MONOTONIC", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1");
    }

    /// Sets a clock this many seconds ahead of the machine's.
    pub(super) fn set(&self, node: usize, ahead_secs: i64) -> Result<()> {
        // The file is renamed into place, so that the node never reads half of it.
        let new = self.files[node].with_extension("clock-new");
        std::fs::write(&new, format!("{ahead_secs:+}\n"))?;
        Ok(std::fs::rename(new, &self.files[node])?)
    }
}

/// Returns whether a clock that shows this is that far ahead of ours.
#[expect(
    clippy::disallowed_methods,
    reason = "a node's wall clock is compared with the machine's"
)]
pub(super) fn shows(wall_clock_ms: u64, ahead_secs: i64) -> bool {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let expected_ms = now.as_millis().cast_signed() + i128::from(ahead_secs) * 1_000;
    (i128::from(wall_clock_ms) - expected_ms).abs() < SHOWN_WITHIN_MS
}

/// Removes what a killed process could not remove: libfaketime shares memory between a process and its
/// children.
pub(super) fn clear_after(process_id: u32) {
    for name in ["faketime_shm_", "sem.faketime_sem_"] {
        let _ = std::fs::remove_file(format!("/dev/shm/{name}{process_id}"));
    }
}

fn library() -> Option<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib").ok()?;
    folders
        .flatten()
        .map(|folder| folder.path())
        .chain([PathBuf::from("/usr/lib")])
        .map(|folder| folder.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.exists())
}
