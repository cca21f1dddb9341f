//! The only place where the node reads the wall clock. It is reported to those who compare clocks; no
//! decision rests on it.

/// Returns the milliseconds since the Unix epoch; 0 for a clock before it.
#[allow(clippy::disallowed_methods, reason = "this is the crate's clock module")]
pub(crate) fn wall_clock_ms() -> u64 {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since_epoch.map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
