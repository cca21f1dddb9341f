//! Latencies of calls, recorded by thousands of callers at once.

use std::time::Duration;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Number of histograms. One takes some 100 KB, so callers share them; there are enough that no caller waits
/// for another.
const PARTS: usize = 16;

/// Latencies of calls, in microseconds.
pub(crate) struct Latencies {
    parts: Vec<Mutex<Histogram<u64>>>,
}

impl Latencies {
    pub(crate) fn new() -> Result<Self> {
        let parts = (0..PARTS).map(|_| Ok(Mutex::new(histogram()?)));
        Ok(Self {
            parts: parts.collect::<Result<_>>()?,
        })
    }

    /// Records how long a call of this caller took.
    pub(crate) fn record(&self, caller: usize, took: Duration) {
        let mut part = self.parts[caller % PARTS].lock();
        part.saturating_record(microseconds(took));
    }

    /// Returns all latencies in one histogram.
    pub(crate) fn together(&self) -> Result<Histogram<u64>> {
        let mut all = histogram()?;
        for part in &self.parts {
            all.add(&*part.lock())?;
        }
        Ok(all)
    }
}

/// Makes a histogram of microseconds, up to ten minutes.
pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).context("a histogram")
}

pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_callers_recorded_is_together() {
        let latencies = Latencies::new().unwrap();
        for caller in 0..1000 {
            latencies.record(caller, Duration::from_micros(caller as u64 + 1));
        }
        let all = latencies.together().unwrap();
        assert_eq!(all.len(), 1000);
        assert_eq!(all.value_at_quantile(0.5), 500);
    }
}
