//! The metrics of a node's resources: its disk, its write-ahead log, its process, its callers' bytes and its
//! connections to the peers.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_storage::{Log, LogStats, SYNC_BUCKETS_US};
use procfs::process::{LimitValue, Process};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{NO_EXEMPLARS, PeerLabels};
use crate::intake::Budget;
use crate::peers::Peers;
use crate::space::{DiskBytes, Space, SpaceState};

/// The sources of the numbers.
pub(crate) struct Resources {
    /// The budget of the bytes that callers may take.
    pub(crate) budget: Arc<Budget>,
    /// The node's data folder.
    pub(crate) data_dir: PathBuf,
    /// The space on the disk of that folder.
    pub(crate) space: Space,
    /// The node's write-ahead log.
    pub(crate) log: Log,
    /// The node's connections to the other nodes.
    pub(crate) peers: Peers,
}

impl fmt::Debug for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resources")
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: u64,
) -> fmt::Result {
    let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    value.encode(encoder.encode_descriptor(name, help, unit, value.metric_type())?)
}

/// A histogram of the duration of syncs, as the log counted them.
struct Syncs(LogStats);

impl EncodeMetric for Syncs {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let bounds = SYNC_BUCKETS_US
            .iter()
            .map(|us| *us as f64 / 1e6)
            .chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(self.0.syncs).collect();
        let count = self.0.syncs.iter().sum();
        encoder.encode_histogram(self.0.sync_ns as f64 / 1e9, count, &buckets, NO_EXEMPLARS)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

impl Resources {
    fn disk(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        gauge(
            encoder,
            "data_put_aside",
            "Damaged data folders whose data this node got again from its peers, and that are still on its disk",
            None,
            crate::damage::count(&self.data_dir) as u64,
        )?;
        // If the file system does not answer, these metrics are left out. No alert is needed on missing ones,
        // because a node whose disk fails ends.
        let Ok(disk) = DiskBytes::of(&self.data_dir) else {
            return Ok(());
        };
        gauge(
            encoder,
            "data_disk_available",
            "Bytes that the node can still write to the file system of its data folder",
            Some(&Unit::Bytes),
            disk.available,
        )?;
        gauge(
            encoder,
            "data_disk_size",
            "Bytes that the file system of the node's data folder has",
            Some(&Unit::Bytes),
            disk.size,
        )?;
        self.space(encoder)
    }

    fn space(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let found = self.space.found();
        let is = |state: SpaceState| u64::from(found.state == state);
        gauge(
            encoder,
            "data_disk_low_below",
            "The limit of available bytes below which the node accepts nothing new",
            Some(&Unit::Bytes),
            found.bounds.low_below,
        )?;
        gauge(
            encoder,
            "data_disk_low",
            "1 where little disk space is left and nothing new is accepted, else 0",
            None,
            is(SpaceState::Low) | is(SpaceState::Full),
        )?;
        gauge(
            encoder,
            "data_disk_full",
            "1 from when the disk was full and the ballast was removed until there is enough space again, else 0",
            None,
            is(SpaceState::Full),
        )?;
        gauge(
            encoder,
            "data_disk_ballast",
            "Bytes that the ballast holds back for a full disk",
            Some(&Unit::Bytes),
            found.ballast,
        )
    }

    fn log(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.log.stats();
        let written = ConstCounter::new(stats.written_bytes);
        written.encode(encoder.encode_descriptor(
            "log_written",
            "Bytes of records written to the write-ahead log",
            Some(&Unit::Bytes),
            written.metric_type(),
        )?)?;
        let syncs = Syncs(stats);
        syncs.encode(encoder.encode_descriptor(
            "log_sync_duration",
            "Time that a data sync of the write-ahead log took",
            Some(&Unit::Seconds),
            syncs.metric_type(),
        )?)
    }

    fn reachable(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "1 where the Raft stream to this peer is up, else 0";
        let mut family = encoder.encode_descriptor("peer_reachable", help, None, MetricType::Gauge)?;
        for peer in self.peers.ids() {
            let reachable = ConstGauge::new(i64::from(self.peers.is_reachable(peer)));
            reachable.encode(family.encode_family(&PeerLabels { peer })?)?;
        }
        Ok(())
    }
}

/// Encodes the kernel's numbers about this process. Skips each number that the kernel does not give.
fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let Ok(process) = Process::myself() else {
        return Ok(());
    };
    let Ok(stat) = process.stat() else {
        return Ok(());
    };
    let ticks = procfs::ticks_per_second();
    if let Ok(booted_s) = procfs::boot_time_secs() {
        gauge(
            encoder,
            "process_start_time",
            "When this process started, in seconds since the Unix epoch",
            Some(&Unit::Seconds),
            booted_s + stat.starttime / ticks,
        )?;
    }
    gauge(
        encoder,
        "process_resident_memory",
        "Memory that this process has in use",
        Some(&Unit::Bytes),
        stat.rss * procfs::page_size(),
    )?;
    let cpu = ConstCounter::new((stat.utime + stat.stime) as f64 / ticks as f64);
    cpu.encode(encoder.encode_descriptor(
        "process_cpu",
        "Processor time that this process has used",
        Some(&Unit::Seconds),
        cpu.metric_type(),
    )?)?;
    if let Ok(open) = process.fd_count() {
        let help = "File descriptors that this process has open";
        gauge(encoder, "process_open_fds", help, None, open as u64)?;
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        let help = "File descriptors that this process may have open";
        gauge(encoder, "process_max_fds", help, None, most)?;
    }
    Ok(())
}

impl Collector for Resources {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.disk(&mut encoder)?;
        self.log(&mut encoder)?;
        self.reachable(&mut encoder)?;
        gauge(
            &mut encoder,
            "caller_taken",
            "Bytes of memory that the requests and unread answers of all callers take",
            Some(&Unit::Bytes),
            self.budget.taken() as u64,
        )?;
        process(&mut encoder)
    }
}
