//! Description of the machine on which the figures were measured.

use std::fs;

use serde_json::{Value, json};

use crate::clock;

/// Returns the processor, its cores, the memory, the kernel, and the time.
pub(crate) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let (cpu, memory) = (read("/proc/cpuinfo"), read("/proc/meminfo"));
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| Some(line.split_once(':')?.1.trim().to_owned()))
    };
    json!({
        "processor": field(&cpu, "model name"),
        "cores": std::thread::available_parallelism().map(usize::from).ok(),
        "memory": field(&memory, "MemTotal"),
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "load_before": read("/proc/loadavg").split(' ').next(),
        "unix_ms": clock::now_ms(),
    })
}
