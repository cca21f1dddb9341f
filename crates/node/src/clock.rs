//! The only place where the node reads the wall clock. It is used to compare clocks, to show ages, to refuse
//! expired certificates, and to refuse as-of reads of a future time. The ledger never decides by it: log time
//! has a clock of its own in `holdfast-shard`.

/// Returns the milliseconds since the Unix epoch; 0 for a clock before it.
#[allow(clippy::disallowed_methods, reason = "this is the crate's clock module")]
pub(crate) fn wall_clock_ms() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
