//! The wall clock of the comparison.

use std::time::{SystemTime, UNIX_EPOCH};

/// Returns milliseconds since the Unix epoch; 0 on a machine whose clock is before it.
#[allow(clippy::disallowed_methods, reason = "the one place that reads it")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
