//! The effect of a flood, and the bounds on it.

use std::fmt;

use anyhow::{Result, ensure};

use super::Flood;
use crate::meter::Service;

/// Memory in bytes that a flood may take of a node with the default limits: three times
/// `limits.caller_budget`, with room for the allocator and for calls that wait in HTTP/2. The number is
/// chosen, not derived.
const CALLER_MEMORY_BYTES: u64 = 3 * (256 << 20);
/// Greatest ratio of the time that honest callers wait during a flood to that in quiet times.
const SLOWER: u64 = 5;

/// The service of honest callers without a flood.
#[derive(Debug, Clone)]
pub struct Quiet {
    /// Service of the honest callers.
    pub service: Service,
    /// Resident memory of each node, in bytes.
    pub resident_bytes: Vec<u64>,
}

/// The effect of a flood.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The flood that was played.
    pub flood: Flood,
    /// Number of hostile attempts.
    pub attempts: u64,
    /// Service of the honest callers during the flood.
    pub service: Service,
    /// Resident memory of each node before the flood, in bytes.
    pub resident_before: Vec<u64>,
    /// Highest resident memory of each node during the flood, in bytes.
    pub resident_peak: Vec<u64>,
    /// Sum of the terms of all shards on all nodes, before the flood.
    pub terms_before: u64,
    /// Sum of the terms of all shards on all nodes, after the flood.
    pub terms_after: u64,
}

/// Returns the time in which 99 of 100 calls are answered, in microseconds.
fn p99_us(service: &Service) -> u64 {
    service.latency_us.value_at_quantile(0.99)
}

fn mib(bytes: &[u64]) -> Vec<u64> {
    bytes.iter().map(|bytes| bytes >> 20).collect()
}

impl Shown {
    /// Judges everything but times, against the memory that the nodes had in quiet times.
    ///
    /// # Errors
    /// Names the bound that was not kept.
    pub fn judge(&self, quiet: &Quiet) -> Result<()> {
        for (node, (peak, quiet)) in self.resident_peak.iter().zip(&quiet.resident_bytes).enumerate() {
            ensure!(
                *peak <= quiet + CALLER_MEMORY_BYTES,
                "{:?}: node {} took {} MiB, {} MiB in quiet times",
                self.flood,
                node + 1,
                peak >> 20,
                quiet >> 20
            );
        }
        ensure!(
            self.terms_after == self.terms_before,
            "{:?}: terms moved by {}",
            self.flood,
            self.terms_after - self.terms_before
        );
        Ok(())
    }

    /// Judges how long honest callers waited.
    ///
    /// # Errors
    /// When they waited too long.
    pub fn judge_times(&self, quiet: &Quiet) -> Result<()> {
        let (quiet_us, flooded_us) = (p99_us(&quiet.service), p99_us(&self.service));
        ensure!(
            flooded_us <= quiet_us * SLOWER,
            "{:?}: 99 of 100 honest calls took up to {flooded_us} us, {quiet_us} us in quiet times",
            self.flood
        );
        Ok(())
    }

    /// Returns the effect as JSON.
    pub fn json(&self, quiet: &Quiet) -> serde_json::Value {
        serde_json::json!({
            "flood": format!("{:?}", self.flood),
            "attempts": self.attempts,
            "grants": self.service.grants,
            "unanswered": self.service.unanswered,
            "p99_us": p99_us(&self.service),
            "quiet_p99_us": p99_us(&quiet.service),
            "resident_before_mib": mib(&self.resident_before),
            "resident_peak_mib": mib(&self.resident_peak),
            "terms_before": self.terms_before,
            "terms_after": self.terms_after,
        })
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?}: {} attempts; honest: {} grants ({:.0}/s), p99 {} us, {} unanswered; MiB {:?} to {:?}; terms {} to {}",
            self.flood,
            self.attempts,
            self.service.grants,
            self.service.grants_per_second(),
            p99_us(&self.service),
            self.service.unanswered,
            mib(&self.resident_before),
            mib(&self.resident_peak),
            self.terms_before,
            self.terms_after,
        )
    }
}
