//! The wish that a run stops.

use tokio_util::sync::CancellationToken;

/// The wish that a run stops before its end. Clones are the same wish.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    /// Token that ends the run after the wave in flight.
    pub(super) after_wave: CancellationToken,
    /// Token that ends the run without the answers to the operations in flight.
    pub(super) at_once: CancellationToken,
}

impl Stop {
    /// Asks the run to stop. The first call lets the operations in flight finish, and the second one stops at
    /// once. Returns whether it is the first call.
    pub fn ask(&self) -> bool {
        let is_first = !self.after_wave.is_cancelled();
        if is_first {
            self.after_wave.cancel();
        } else {
            self.at_once.cancel();
        }
        is_first
    }
}
