//! Time of a shard: the only module of this crate that reads the wall clock, and the stamps of a leader's
//! entries.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Milliseconds since the Unix epoch, by this node's clock. It may be wrong, and may jump.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Largest difference, in milliseconds, at which clocks count as agreeing.
const AGREEING_MS: u64 = 1_000;

/// Reads the clock of the machine, in milliseconds since the Unix epoch.
#[allow(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn system_clock_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX)
}

/// Source of log time on a leader. Cheap to clone.
///
/// Every answer of a peer carries the time of its clock. The leader stamps with the median of all voters'
/// clocks, its own among them. So a minority of wrong clocks cannot move log time, even when the leader's
/// clock is one of them.
///
/// A clock that was not heard yet counts as infinitely far behind, because a late stamp is safer than an
/// early one. Log time never goes back even then: it goes on from the last stamp. A leader whose first stamps
/// are behind gives new holds an end that is too early. They end too early once its stamps are right. So a
/// leader also asks [`Self::certainty`] before it stamps.
#[derive(Clone)]
pub(crate) struct LogClock {
    wall_clock: WallClock,
    own_id: u64,
    heard: Arc<Mutex<PeerReading>>,
}

#[derive(Debug, Default)]
struct PeerReading {
    /// The replicas whose clocks count.
    voters: BTreeSet<u64>,
    last_stamped_ms: u64,
    /// Each peer's clock and when it was heard. The value is not relative to our own wall clock, which may
    /// jump meanwhile.
    peers: BTreeMap<u64, (u64, Instant)>,
    /// The latest log time applied, and when it was applied.
    log: Option<(u64, Instant)>,
}

/// How well the time is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Certainty {
    /// Too few clocks are known to say anything.
    Unknown,
    /// A minority of the known clocks could be wrong by enough to matter, and only the missing clocks would
    /// show it.
    Disputed,
    /// The time is the same whatever the missing clocks say.
    Certain,
}

impl LogClock {
    /// Makes the clock of the replica with this Raft id, in a group with these voters.
    pub(crate) fn new(wall_clock: WallClock, own_id: u64, voters: BTreeSet<u64>) -> Self {
        let heard = PeerReading {
            voters,
            ..PeerReading::default()
        };
        Self {
            wall_clock,
            own_id,
            heard: Arc::new(Mutex::new(heard)),
        }
    }

    /// Sets the replicas that have a vote. Only their clocks count from here on.
    pub(crate) fn set_voters(&self, voters: BTreeSet<u64>) {
        self.heard.lock().voters = voters;
    }

    /// Reads this node's own clock, in milliseconds since the Unix epoch.
    pub(crate) fn wall_clock_ms(&self) -> u64 {
        (self.wall_clock)()
    }

    /// Records the time of a peer's clock.
    pub(crate) fn observe(&self, peer: u64, peer_wall_ms: u64) {
        self.heard
            .lock()
            .peers
            .insert(peer, (peer_wall_ms, Instant::now()));
    }

    /// Records applied log time, which another leader may have stamped.
    pub(crate) fn applied(&self, log_time_ms: u64) {
        let mut heard = self.heard.lock();
        if heard.log.is_none_or(|(last_ms, _)| log_time_ms > last_ms) {
            heard.log = Some((log_time_ms, Instant::now()));
        }
    }

    /// Returns by how much each peer's clock is ahead of ours, in milliseconds. Peers that were not heard are
    /// missing.
    pub(crate) fn ahead_ms(&self) -> BTreeMap<u64, i64> {
        let (own, now) = (self.wall_clock_ms(), Instant::now());
        let heard = self.heard.lock();
        let peers = heard.peers.iter();
        peers
            .map(|(peer, clock)| {
                let ahead = i128::from(time_of(*clock, now)) - i128::from(own);
                (
                    *peer,
                    ahead.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64,
                )
            })
            .collect()
    }

    /// Returns whether an entry can be stamped without letting a minority of clocks move log time.
    pub(crate) fn certainty(&self) -> Certainty {
        let (known, voters) = self.known_ms();
        match (
            median_ms(&known, voters, Missing::Late),
            median_ms(&known, voters, Missing::Early),
        ) {
            (None, _) => Certainty::Unknown,
            (Some(late), Some(early)) if early - late <= AGREEING_MS => Certainty::Certain,
            (Some(_), _) => Certainty::Disputed,
        }
    }

    /// Returns the log time that an entry would get at this moment. Nothing is stamped.
    pub(crate) fn peek(&self, applied_ms: u64) -> u64 {
        let (known, voters) = self.known_ms();
        let late = median_ms(&known, voters, Missing::Late).unwrap_or(0);
        let early = median_ms(&known, voters, Missing::Early).unwrap_or(0);
        let continued = self
            .heard
            .lock()
            .log
            .map_or(0, |log| time_of(log, Instant::now()));
        // The clocks allow a range of times. Within it, log time goes on at its own pace.
        let agreed = continued.min(early).max(late);
        agreed.max(self.heard.lock().last_stamped_ms).max(applied_ms)
    }

    /// Stamps an entry: never earlier than the last stamp, nor than what is applied.
    pub(crate) fn stamp(&self, applied_ms: u64) -> u64 {
        let stamp = self.peek(applied_ms);
        let mut heard = self.heard.lock();
        heard.last_stamped_ms = heard.last_stamped_ms.max(stamp);
        heard.last_stamped_ms
    }

    /// Returns all known clocks of voters as of this moment, sorted, and the number of voters.
    fn known_ms(&self) -> (Vec<u64>, usize) {
        let (own, now) = (self.wall_clock_ms(), Instant::now());
        let heard = self.heard.lock();
        let peers = heard.peers.iter().filter(|(peer, _)| **peer != self.own_id);
        let mut known: Vec<u64> = peers
            .filter(|(peer, _)| heard.voters.contains(peer))
            .map(|(_, clock)| time_of(*clock, now))
            .collect();
        if heard.voters.contains(&self.own_id) {
            known.push(own);
        }
        known.sort_unstable();
        (known, heard.voters.len())
    }
}

/// Returns the median clock of `voters`, with the missing clocks taken as `missing`. For an even number this
/// is the lower of the two in the middle.
fn median_ms(known: &[u64], voters: usize, missing: Missing) -> Option<u64> {
    let middle = voters.saturating_sub(1) / 2;
    match missing {
        Missing::Late => known.get(middle.checked_sub(voters.saturating_sub(known.len()))?),
        Missing::Early => known.get(middle),
    }
    .copied()
}

/// Assumption about the clocks that were not heard.
#[derive(Clone, Copy)]
enum Missing {
    Late,
    Early,
}

fn time_of((heard_ms, at): (u64, Instant), now: Instant) -> u64 {
    let since = now.saturating_duration_since(at).as_millis();
    heard_ms.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use super::*;

    const NOON: u64 = 1_800_000_000_000;
    const HOUR: u64 = 3_600_000;

    /// Returns a clock in a group of `voters` replicas, and the wall clock behind it.
    fn clock(voters: usize, wall_ms: u64) -> (LogClock, Arc<AtomicU64>) {
        let wall = Arc::new(AtomicU64::new(wall_ms));
        let read = Arc::clone(&wall);
        (
            LogClock::new(
                Arc::new(move || read.load(Ordering::SeqCst)),
                1,
                (1..=voters as u64).collect(),
            ),
            wall,
        )
    }

    #[test]
    fn stamps_never_go_back() {
        let (clock, wall) = clock(1, NOON);
        assert_eq!(clock.stamp(NOON + 1_000), NOON + 1_000);
        assert_eq!(
            clock.stamp(0),
            NOON + 1_000,
            "the wall clock is behind, log time stays"
        );
        wall.store(NOON + 5_000, Ordering::SeqCst);
        assert_eq!(clock.stamp(0), NOON + 5_000);
        wall.store(NOON, Ordering::SeqCst);
        assert_eq!(
            clock.stamp(0),
            NOON + 5_000,
            "the wall clock went back, log time stays"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn one_wrong_clock_of_three_does_not_move_log_time() {
        for wrong in [0, NOON - HOUR, NOON + HOUR, u64::MAX] {
            let (leader_is_right, _) = clock(3, NOON);
            leader_is_right.observe(2, NOON);
            leader_is_right.observe(3, wrong);
            assert_eq!(leader_is_right.peek(0), NOON);
            assert_eq!(leader_is_right.certainty(), Certainty::Certain);

            let (leader_is_wrong, _) = clock(3, wrong);
            leader_is_wrong.observe(2, NOON);
            leader_is_wrong.observe(3, NOON + 20);
            let seen = leader_is_wrong.peek(0);
            assert!((NOON..=NOON + 20).contains(&seen), "{seen} with a wrong {wrong}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fresh_leader_does_not_move_log_time_by_its_own_clock() {
        for voters in [2, 3, 4, 5] {
            let (alone, _) = clock(voters, NOON + HOUR);
            assert_eq!(alone.certainty(), Certainty::Unknown);
            assert_eq!(alone.peek(NOON), NOON, "of {voters} voters only one is known");
        }
        let (single, _) = clock(1, NOON);
        assert_eq!((single.certainty(), single.peek(0)), (Certainty::Certain, NOON));
    }

    #[tokio::test(start_paused = true)]
    async fn two_clocks_of_three_that_differ_do_not_tell_the_time_and_never_an_early_one() {
        for (own, peer) in [(NOON, NOON + HOUR), (NOON + HOUR, NOON)] {
            let (clock, _) = clock(3, own);
            clock.observe(2, peer);
            assert_eq!(clock.certainty(), Certainty::Disputed);
            assert_eq!(clock.peek(0), NOON, "late is safer than early");
            clock.observe(3, NOON + HOUR + 3);
            assert_eq!(clock.certainty(), Certainty::Certain);
            assert_eq!(clock.peek(0), NOON + HOUR);
        }
        let (agreeing, _) = clock(3, NOON);
        agreeing.observe(2, NOON + 40);
        assert_eq!(
            agreeing.certainty(),
            Certainty::Certain,
            "the third cannot change much"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_two_clocks_of_three_leave_open_the_log_decides() {
        let (clock, _) = clock(3, NOON);
        clock.applied(NOON);
        tokio::time::advance(Duration::from_secs(10)).await;
        clock.observe(2, NOON - HOUR);
        assert_eq!(clock.peek(NOON), NOON, "the own clock stands still");
        let (clock, wall) = self::clock(3, NOON);
        clock.applied(NOON);
        tokio::time::advance(Duration::from_secs(10)).await;
        wall.store(NOON + 10_000, Ordering::SeqCst);
        clock.observe(2, NOON - HOUR);
        assert_eq!(
            clock.peek(NOON),
            NOON + 10_000,
            "a peer that is late does not hold it up"
        );
        wall.store(NOON + HOUR, Ordering::SeqCst);
        assert_eq!(
            clock.peek(NOON),
            NOON + 10_000,
            "nor does a clock that is early hurry it"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn two_wrong_clocks_of_five_do_not_move_log_time() {
        let (clock, _) = clock(5, NOON + HOUR);
        clock.observe(2, NOON + HOUR);
        clock.observe(3, NOON);
        assert_eq!((clock.certainty(), clock.peek(0)), (Certainty::Disputed, NOON));
        clock.observe(4, NOON + 5);
        assert_eq!(clock.peek(0), NOON + 5);
        clock.observe(5, NOON + 10);
        assert_eq!(
            (clock.certainty(), clock.peek(0)),
            (Certainty::Certain, NOON + 10)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_leap_of_the_own_clock_after_the_peers_were_heard_does_not_move_log_time() {
        let (clock, wall) = clock(3, NOON);
        clock.observe(2, NOON);
        clock.observe(3, NOON);
        wall.store(NOON + HOUR, Ordering::SeqCst);
        assert_eq!(clock.peek(0), NOON);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(clock.peek(0), NOON + 5_000, "the peers' clocks have gone on");
        assert_eq!(clock.ahead_ms()[&2], 5_000 - HOUR as i64);
    }
}
