//! The schedule of contacts with each other shard: one at a time, and ever more seldom while it does not
//! answer.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// The pause after the first failure. It doubles after each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The state of each other shard. A shard that is not in it is idle, and answered the last time.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    others: BTreeMap<u32, Other>,
}

#[derive(Debug)]
struct Other {
    is_busy: bool,
    /// How long the shard is left alone after a failure, and until when.
    pause: Option<(Duration, Instant)>,
}

impl Schedule {
    /// Returns whether a shard may be contacted now. If so, it is busy until [`Schedule::end`].
    pub(super) fn begin(&mut self, other: u32, now: Instant) -> bool {
        let other = self.others.entry(other).or_insert(Other {
            is_busy: false,
            pause: None,
        });
        if other.is_busy || other.pause.is_some_and(|(_, until)| now < until) {
            return false;
        }
        other.is_busy = true;
        true
    }

    /// Notes whether the shard answered.
    pub(super) fn end(&mut self, other: u32, has_answered: bool, now: Instant) {
        if has_answered {
            self.others.remove(&other);
            return;
        }
        if let Some(other) = self.others.get_mut(&other) {
            let pause = match other.pause {
                Some((last, _)) => (last * 2).min(LONGEST_PAUSE),
                None => FIRST_PAUSE,
            };
            other.is_busy = false;
            other.pause = Some((pause, now + pause));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_that_does_not_answer_is_left_alone_ever_longer_and_keeps_no_other_waiting() {
        let mut schedule = Schedule::default();
        let mut now = Instant::now();
        let mut pause = FIRST_PAUSE;
        for _ in 0..10 {
            assert!(schedule.begin(1, now));
            assert!(!schedule.begin(1, now), "it is told once at a time");
            schedule.end(1, false, now);
            assert!(!schedule.begin(1, now + pause - Duration::from_millis(1)));
            assert!(schedule.begin(2, now), "the other one is told all the time");
            schedule.end(2, true, now);
            now += pause;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        assert!(schedule.begin(1, now));
        schedule.end(1, true, now);
        assert!(schedule.begin(1, now), "it has answered");
    }
}
