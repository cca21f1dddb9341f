//! What a run looks like; drawn from its seed.

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where everything comes from.
    pub seed: u64,
    /// 3 or 5.
    pub nodes: u64,
    /// Shards on each node.
    pub shards: u32,
    /// Clients that work at once.
    pub clients: u64,
    /// How long faults happen, in simulated milliseconds.
    pub faults_ms: u64,
    /// Milliseconds between two faults, on average.
    pub fault_every_ms: u64,
    /// Small, so that snapshots and purges happen all the time.
    pub snapshot_every_entries: u64,
    /// Small, so that a replica which was away needs a snapshot.
    pub keep_entries_for_laggards: u64,
    /// Small or nothing, so that the log is read from disk.
    pub log_cache_bytes: usize,
}

impl Plan {
    /// The run of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        Self {
            seed,
            nodes: if random.random_bool(0.8) { 3 } else { 5 },
            shards: random.random_range(1..=3),
            clients: random.random_range(4..=8),
            faults_ms: 30_000,
            fault_every_ms: random.random_range(150..1_500),
            snapshot_every_entries: random.random_range(20..200),
            keep_entries_for_laggards: random.random_range(1..60),
            log_cache_bytes: if random.random_bool(0.3) { 0 } else { 64 << 10 },
        }
    }

    /// A seed for one part of the run.
    pub fn seed_for(&self, part: &str, number: u64) -> u64 {
        xxh3_64_with_seed(
            part.as_bytes(),
            self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number,
        )
    }
}
