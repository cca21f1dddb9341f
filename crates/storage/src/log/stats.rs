//! Counts of the log's writer, for those who watch the disk.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in which the durations of syncs are counted, in microseconds. Longer ones go
/// to a last bucket.
pub const SYNC_BUCKETS_US: [u64; 14] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
];

/// Counts since the log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogStats {
    /// Bytes of records that were written to the disk, headers included.
    pub written_bytes: u64,
    /// Time spent in data syncs that succeeded, in nanoseconds.
    pub sync_ns: u64,
    /// Number of successful syncs in each bucket: at most as long as the bound in [`SYNC_BUCKETS_US`], and
    /// longer than the bound before. The last bucket has those that exceed all bounds.
    pub syncs: [u64; SYNC_BUCKETS_US.len() + 1],
}

/// Counters behind [`LogStats`], while they count.
#[derive(Debug, Default)]
pub(super) struct Counters {
    written_bytes: AtomicU64,
    sync_ns: AtomicU64,
    syncs: [AtomicU64; SYNC_BUCKETS_US.len() + 1],
}

impl Counters {
    pub(super) fn written(&self, bytes: usize) {
        self.written_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        let (us, ns) = (
            took.as_micros(),
            u64::try_from(took.as_nanos()).unwrap_or(u64::MAX),
        );
        let bucket = SYNC_BUCKETS_US.partition_point(|bound| u128::from(*bound) < us);
        self.sync_ns.fetch_add(ns, Ordering::Relaxed);
        self.syncs[bucket].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> LogStats {
        LogStats {
            written_bytes: self.written_bytes.load(Ordering::Relaxed),
            sync_ns: self.sync_ns.load(Ordering::Relaxed),
            syncs: std::array::from_fn(|bucket| self.syncs[bucket].load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sync_is_counted_in_the_first_bucket_that_it_fits() {
        let counters = Counters::default();
        for us in [0, 50, 51, 1_000_000, 1_000_001] {
            counters.synced(Duration::from_micros(us));
        }
        let stats = counters.read();
        assert_eq!((stats.syncs[0], stats.syncs[1]), (2, 1));
        assert_eq!((stats.syncs[13], stats.syncs[14]), (1, 1));
        assert_eq!(stats.syncs.iter().sum::<u64>(), 5);
        assert_eq!(stats.sync_ns, 2_000_102_000);
    }
}
