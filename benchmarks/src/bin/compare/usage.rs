//! What a system's processes use: processor time, and bytes given to the disk (proc_pid_stat(5), proc_pid_io(5)).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::Sub;

use anyhow::{Context as _, Result};

/// Ticks of a second in /proc; fixed by the kernel's interface on Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// Used since the processes started.
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

/// Reads what a process and all below it use.
pub(crate) struct UsageMeter {
    root: u32,
}

impl UsageMeter {
    pub(crate) fn new(root: u32) -> Self {
        Self { root }
    }

    /// Only what runs now counts: processes that start and end between two readings are missed, so connections
    /// have to be kept.
    pub(crate) fn read(&self) -> Result<Usage> {
        let mut children: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        let mut ticks: BTreeMap<u32, f64> = BTreeMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // It may have ended meanwhile.
            let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            // The name of the program stands in brackets and may hold anything.
            let (_, fields) = stat.rsplit_once(')').context("an odd /proc/*/stat")?;
            let fields: Vec<&str> = fields.split_whitespace().collect();
            let number = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok());
            let parent = number(1).context("no parent in /proc/*/stat")? as u32;
            children.entry(parent).or_default().push(pid);
            ticks.insert(pid, number(11).unwrap_or(0.0) + number(12).unwrap_or(0.0));
        }
        let mut tree = BTreeSet::from([self.root]);
        let mut open = vec![self.root];
        while let Some(pid) = open.pop() {
            for child in children.get(&pid).into_iter().flatten() {
                tree.insert(*child);
                open.push(*child);
            }
        }
        let mut usage = Usage::default();
        for pid in tree {
            usage.cpu_seconds += ticks.get(&pid).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
            let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
            let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
            usage.written_bytes += written.and_then(|bytes| bytes.parse::<f64>().ok()).unwrap_or(0.0);
        }
        Ok(usage)
    }
}
