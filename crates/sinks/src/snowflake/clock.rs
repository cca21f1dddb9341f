//! The one place where this sink reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the Unix epoch; zero when the clock is before the epoch.
#[expect(clippy::disallowed_methods, reason = "this is the sink's clock module")]
pub(super) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
