//! The one place where the command line looks at the wall clock.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the Unix epoch; none for a clock before it.
#[expect(clippy::disallowed_methods, reason = "this is the crate's clock module")]
pub(crate) fn since_epoch() -> Option<Duration> {
    SystemTime::now().duration_since(UNIX_EPOCH).ok()
}
