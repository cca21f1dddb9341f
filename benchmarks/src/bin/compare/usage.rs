//! Usage of a system's processes: processor time, memory, and what is written to the machine's disks
//! meanwhile (proc_pid_stat(5), diskstats).
//!
//! Written bytes are not taken from `/proc/<pid>/io`, because it counts a whole folio of the page cache, up
//! to 2 MiB, for each write into it.

use std::collections::BTreeSet;
use std::ops::Sub;
use std::path::Path;

use anyhow::{Context as _, Result};
use procfs::process::{Process, Stat, all_processes};

/// Bytes of a sector. Linux counts in sectors of this size, whatever the disk's sectors are.
const SECTOR_BYTES: u64 = 512;

/// Usage since the start: `cpu_seconds` of the processes, `written_bytes` of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    pub(crate) cpu_seconds: f64,
    pub(crate) written_bytes: f64,
}

impl Sub for Usage {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            cpu_seconds: self.cpu_seconds - before.cpu_seconds,
            written_bytes: self.written_bytes - before.written_bytes,
        }
    }
}

/// A reader of what a process and all processes below it use.
pub(crate) struct UsageMeter {
    root: u32,
}

impl UsageMeter {
    pub(crate) fn new(root: u32) -> Self {
        Self { root }
    }

    /// Reads the usage of the processes that run at this moment. Processes that start and end between two
    /// readings are missed, so connections have to be kept.
    pub(crate) fn read(&self) -> Result<Usage> {
        let running = all_processes()?.filter_map(|process| {
            // The process may have ended meanwhile.
            process.ok()?.stat().ok()
        });
        let running: Vec<Stat> = running.collect();
        let parents = running.iter().map(|stat| (stat.pid, stat.ppid));
        let tree = tree(self.root.cast_signed(), &parents.collect::<Vec<_>>());
        let mut usage = Usage::default();
        for stat in running.iter().filter(|stat| tree.contains(&stat.pid)) {
            usage.cpu_seconds += (stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64;
        }
        usage.written_bytes = written_bytes()?;
        Ok(usage)
    }
}

/// Returns the bytes that were written to all disks of the machine. A disk that is made of others has no
/// device of its own, so nothing counts twice.
fn written_bytes() -> Result<f64> {
    let disks = procfs::diskstats()?.into_iter();
    let disks = disks.filter(|disk| Path::new("/sys/block").join(&disk.name).join("device").exists());
    Ok(disks.map(|disk| disk.sectors_written * SECTOR_BYTES).sum::<u64>() as f64)
}

/// Returns a process and all processes below it. `parents` has each process with its parent.
fn tree(root: i32, parents: &[(i32, i32)]) -> BTreeSet<i32> {
    let mut tree = BTreeSet::from([root]);
    let mut open = vec![root];
    while let Some(above) = open.pop() {
        for (process, parent) in parents {
            if *parent == above && tree.insert(*process) {
                open.push(*process);
            }
        }
    }
    tree
}

/// Returns the memory that a process has in use, in bytes: `VmRSS` of its `/proc/<pid>/status`.
pub(crate) fn resident_bytes(process_id: u32) -> Result<u64> {
    let status = Process::new(process_id.cast_signed())?.status()?;
    let kibibytes = status.vmrss.context("a process without memory")?;
    Ok(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_what_is_below_it() {
        let parents = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)];
        assert_eq!(tree(10, &parents), BTreeSet::from([10, 11, 12]));
        assert_eq!(tree(99, &parents), BTreeSet::from([99]));
    }

    #[test]
    fn memory_that_is_touched_is_resident() {
        let before = resident_bytes(std::process::id()).unwrap();
        let touched = vec![1_u8; 64 << 20];
        let after = resident_bytes(std::process::id()).unwrap();
        assert_eq!(touched.iter().filter(|byte| **byte == 1).count(), 64 << 20);
        // Other tests take and free memory meanwhile.
        assert!(after > before + (48 << 20), "{before} before, {after} after");
    }

    #[test]
    fn work_is_seen() {
        let meter = UsageMeter::new(std::process::id());
        let before = meter.read().unwrap();
        let mut number = 1_u64;
        for _ in 0..200_000_000_u64 {
            number = std::hint::black_box(number.wrapping_mul(3));
        }
        let used = meter.read().unwrap() - before;
        assert!(used.cpu_seconds > 0.0, "{used:?} for {number}");
    }
}
