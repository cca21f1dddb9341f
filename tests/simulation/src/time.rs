//! The one true time, and the node clocks that may differ from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use holdfast_shard::WallClock;

/// Time that a right clock shows when the simulation begins, in milliseconds since the Unix epoch.
pub const EPOCH_MS: u64 = 1_800_000_000_000;

/// The true time of the simulation, in milliseconds since the beginning. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct TrueTime(Arc<AtomicU64>);

impl TrueTime {
    /// Returns the milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Lets one millisecond pass.
    pub fn pass(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Lets this many milliseconds pass, in which nothing runs.
    pub fn leap(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }
}

/// A node's clock: true time and an error.
#[derive(Debug, Clone)]
pub struct NodeClock {
    time: TrueTime,
    error_ms: Arc<AtomicI64>,
}

impl NodeClock {
    /// Makes a clock that is wrong by this many milliseconds.
    pub fn new(time: TrueTime, error_ms: i64) -> Self {
        Self {
            time,
            error_ms: Arc::new(AtomicI64::new(error_ms)),
        }
    }

    /// Sets the error of the clock.
    pub fn set_error_ms(&self, error_ms: i64) {
        self.error_ms.store(error_ms, Ordering::Relaxed);
    }

    /// Returns the clock as a replica reads it.
    pub fn wall_clock(&self) -> WallClock {
        let clock = self.clone();
        Arc::new(move || {
            let error_ms = clock.error_ms.load(Ordering::Relaxed);
            (EPOCH_MS + clock.time.now_ms()).saturating_add_signed(error_ms)
        })
    }
}
