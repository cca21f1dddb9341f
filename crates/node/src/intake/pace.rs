//! Limits how fast large messages are read: a number of bytes a second for all callers, and half of it for
//! each caller.
//!
//! Bytes that arrive faster wait. Their stream is read no further, so HTTP/2's window closes and the caller
//! stops sending. Small messages never wait here. Checkouts send almost only small ones.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// The burst: after a pause, the bytes of so much time may arrive at once.
const BURST: Duration = Duration::from_secs(1);
/// The longest wait. Bytes that would have to wait longer are refused.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// The error of bytes that would have to wait too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooFast;

/// A number of bytes a second, by the generic cell rate algorithm (ITU-T I.371, virtual scheduling). Each
/// part has a moment of its own. So each waiting task is woken only once, however many wait.
#[derive(Debug)]
pub(super) struct Pace {
    bytes_per_second: u64,
    /// The moment when all bytes so far would have arrived at exactly this pace.
    due: Mutex<Instant>,
}

impl Pace {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            due: Mutex::new(Instant::now()),
        }
    }

    /// Takes these bytes, and returns the moment when they may be processed.
    pub(super) fn take(&self, bytes: usize, now: Instant) -> Result<Instant, TooFast> {
        let micros = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second;
        let mut due = self.due.lock();
        let after = (*due).max(now) + Duration::from_micros(micros);
        if after > now + BURST + MAX_WAIT {
            return Err(TooFast);
        }
        *due = after;
        Ok(after.checked_sub(BURST).map_or(now, |moment| moment.max(now)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_of_it_may_come_at_once_and_the_rest_at_the_pace() {
        let pace = Pace::new(1_000);
        let start = Instant::now();
        assert_eq!(pace.take(1_000, start), Ok(start));
        assert_eq!(pace.take(500, start), Ok(start + Duration::from_millis(500)));
        assert_eq!(pace.take(1_500, start), Ok(start + Duration::from_secs(2)));
        assert_eq!(pace.take(1, start), Err(TooFast));
        // The bytes that were refused do not count.
        let later = start + Duration::from_millis(500);
        assert_eq!(pace.take(500, later), Ok(later + Duration::from_secs(2)));
        let idle = start + Duration::from_secs(60);
        assert_eq!(pace.take(1_000, idle), Ok(idle));
    }

    proptest! {
        /// In any interval, the bytes processed are at most those that the pace allows plus one burst.
        #[test]
        fn no_more_is_looked_at_than_the_pace_and_one_burst(
            parts in prop::collection::vec((0_u64..3_000, 1_usize..5_000), 1..50),
        ) {
            let start = std::time::Instant::now();
            let pace = Pace::new(10_000);
            let mut now = Instant::from_std(start) + Duration::from_secs(1);
            let mut looked_at: Vec<(Instant, u64)> = Vec::new();
            for (after, bytes) in parts {
                now += Duration::from_millis(after);
                if let Ok(moment) = pace.take(bytes, now) {
                    prop_assert!(moment >= now && moment <= now + MAX_WAIT);
                    looked_at.push((moment, bytes as u64));
                }
            }
            for (from, _) in &looked_at {
                let mut sum = 0;
                for (moment, bytes) in looked_at.iter().filter(|(moment, _)| moment >= from) {
                    sum += bytes;
                    let micros = u64::try_from((*moment - *from).as_micros()).unwrap();
                    // Each part's moment is rounded down to microseconds.
                    prop_assert!(sum <= 10_000 + micros / 100 + looked_at.len() as u64, "{sum} in {micros}");
                }
            }
        }
    }
}
