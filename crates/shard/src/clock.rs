//! Time: the only place in this crate that looks at the wall clock, and how a leader stamps its entries.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// Milliseconds since the Unix epoch, by this node's clock.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn wall_clock_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Where log time comes from on a leader. Cheap to clone.
///
/// Peers tell their clocks with every answer. The leader stamps with the median of all clocks it knows, its own
/// among them, so a minority of wrong clocks cannot move log time, not even when the leader's is one of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct LogClock(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    last_stamped_ms: u64,
    /// By how much each peer's clock is ahead of ours, as last heard.
    ahead_ms: BTreeMap<u64, i64>,
}

impl LogClock {
    /// Takes note of a peer's clock.
    pub(crate) fn observe(&self, peer: u64, peer_wall_ms: u64) {
        self.observe_at(peer, peer_wall_ms, wall_clock_ms());
    }

    fn observe_at(&self, peer: u64, peer_wall_ms: u64, own_wall_ms: u64) {
        let ahead = i128::from(peer_wall_ms) - i128::from(own_wall_ms);
        let ahead = ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        self.0.lock().ahead_ms.insert(peer, ahead as i64);
    }

    /// The log time of an entry that was stamped now. Nothing is stamped.
    pub(crate) fn peek(&self, applied_ms: u64) -> u64 {
        self.peek_at(applied_ms, wall_clock_ms())
    }

    fn peek_at(&self, applied_ms: u64, own_wall_ms: u64) -> u64 {
        let inner = self.0.lock();
        inner
            .agreed_ms(own_wall_ms)
            .max(inner.last_stamped_ms)
            .max(applied_ms)
    }

    /// Stamps an entry: never earlier than the one before, nor than what is applied.
    pub(crate) fn stamp(&self, applied_ms: u64) -> u64 {
        let stamp = self.peek(applied_ms);
        let mut inner = self.0.lock();
        inner.last_stamped_ms = inner.last_stamped_ms.max(stamp);
        inner.last_stamped_ms
    }
}

impl Inner {
    fn agreed_ms(&self, own_wall_ms: u64) -> u64 {
        let mut ahead: Vec<i64> = self.ahead_ms.values().copied().collect();
        ahead.push(0);
        ahead.sort_unstable();
        // Of an even number the lower middle: late is safer than early.
        let median = ahead[(ahead.len() - 1) / 2];
        own_wall_ms.saturating_add_signed(median)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_never_go_back() {
        let clock = LogClock::default();
        let far_ahead = wall_clock_ms() + 1_000_000;
        let first = clock.stamp(far_ahead);
        assert_eq!(first, far_ahead);
        assert_eq!(
            clock.stamp(0),
            far_ahead,
            "the wall clock is behind, log time stays"
        );
        assert!(clock.stamp(far_ahead + 1) > far_ahead);
    }

    #[test]
    fn one_wrong_clock_of_three_does_not_move_log_time() {
        let clock = LogClock::default();
        clock.observe_at(2, 10_000, 10_000);
        clock.observe_at(3, 99_000_000, 10_000);
        assert_eq!(clock.peek_at(0, 10_000), 10_000, "a peer is wrong");

        let wrong_leader = LogClock::default();
        wrong_leader.observe_at(2, 10_000, 5_000_000);
        wrong_leader.observe_at(3, 10_020, 5_000_000);
        assert_eq!(wrong_leader.peek_at(0, 5_000_000), 10_020, "the leader is wrong");
    }

    #[test]
    fn absurd_peer_clocks_are_survived() {
        let clock = LogClock::default();
        clock.observe_at(2, u64::MAX, 0);
        clock.observe_at(3, 0, u64::MAX);
        clock.observe_at(4, u64::MAX, 0);
        assert!(clock.peek_at(7, u64::MAX) >= 7);
    }
}
