//! The plan of a run, drawn from its seed.

use holdfast_ledger::LedgerOptions;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// The most shards of a run.
pub const MAX_SHARDS: u32 = 3;

/// The plan of one run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Seed from which everything else follows.
    pub seed: u64,
    /// Number of replicas of each shard, 3 or 5, and of the nodes that have them in the beginning.
    pub nodes: u64,
    /// Nodes that have no replicas in the beginning.
    pub spare_nodes: u64,
    /// Shards on each node.
    pub shards: u32,
    /// Clients that work at once.
    pub clients: u64,
    /// Time in which faults happen, in simulated milliseconds.
    pub faults_ms: u64,
    /// Milliseconds between two faults, on average.
    pub fault_every_ms: u64,
    /// Entries between two snapshots. Small, so that snapshots and purges happen all the time.
    pub snapshot_every_entries: u64,
    /// Entries that are kept for replicas that lag. Small, so that a replica which was away needs a snapshot.
    pub keep_entries_for_laggards: u64,
    /// Bytes of the log's cache. Small or zero, so that the log is read from disk.
    pub log_cache_bytes: usize,
    /// Options of the ledger, sometimes with windows so short that an outage outlasts them.
    pub ledger: LedgerOptions,
    /// The longest outage of all nodes, in milliseconds; 0 means that there is none.
    pub outage_ms: u64,
    /// Whether clients sometimes send hundreds of commands at once.
    pub crowds: bool,
    /// Most commands of an entry.
    pub max_entry_commands: usize,
    /// Most bytes of commands in an entry.
    pub max_entry_bytes: usize,
    /// Most bytes of a record in the log. A record in the change log may have twice as many.
    pub max_record_bytes: u32,
}

/// A window, in milliseconds, that is longer than a client goes on with one operation.
const SHORT_WINDOW_MS: u64 = 15_000;

impl Plan {
    /// Draws the plan of a seed.
    pub fn new(seed: u64) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut more = SmallRng::seed_from_u64(seed ^ 0x5eed);
        let crowds = more.random_bool(0.3);
        let short = more.random_bool(0.5);
        let windows = |ms: u64| match short {
            true => LedgerOptions {
                operation_window_ms: ms,
                closed_retention_ms: ms,
                shipped_retention_ms: 3 * ms,
                ..LedgerOptions::default()
            },
            false => LedgerOptions::default(),
        };
        Self {
            ledger: windows(more.random_range(SHORT_WINDOW_MS..4 * SHORT_WINDOW_MS)),
            outage_ms: match more.random_range(0..3) {
                0 => 0,
                1 => 2 * SHORT_WINDOW_MS,
                _ => 36 * 3_600_000,
            },
            crowds,
            max_entry_commands: if crowds { 1_024 } else { 32 },
            max_entry_bytes: if crowds { 256 << 10 } else { 16 << 10 },
            max_record_bytes: if crowds { 512 << 10 } else { 64 << 10 },
            spare_nodes: SmallRng::seed_from_u64(seed ^ 0x5ba4e).random_range(0..=2),
            seed,
            nodes: if random.random_bool(0.8) { 3 } else { 5 },
            shards: random.random_range(1..=MAX_SHARDS),
            clients: random.random_range(4..=8),
            faults_ms: 30_000,
            fault_every_ms: random.random_range(150..1_500),
            snapshot_every_entries: random.random_range(20..200),
            keep_entries_for_laggards: random.random_range(1..60),
            log_cache_bytes: if random.random_bool(0.3) { 0 } else { 64 << 10 },
        }
    }

    /// Returns the number of all nodes.
    pub fn all_nodes(&self) -> u64 {
        self.nodes + self.spare_nodes
    }

    /// Returns a seed for one part of the run.
    pub fn seed_for(&self, part: &str, number: u64) -> u64 {
        xxh3_64_with_seed(
            part.as_bytes(),
            self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number,
        )
    }
}
