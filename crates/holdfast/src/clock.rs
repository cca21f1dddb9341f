//! The one place where the command line reads the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the Unix epoch, or `None` when the clock is before the epoch.
#[expect(clippy::disallowed_methods, reason = "this is the crate's clock module")]
pub(crate) fn since_epoch() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}
