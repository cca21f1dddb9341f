//! Limits the number of audit lines. A refused caller decides how often it is refused. It must not fill a
//! disk with lines, or hide the lines of others. Each caller has a limit, and all callers together have one.
//! Lines beyond a limit are left out, counted and reported.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use holdfast_api::names::Principal;
use lru::LruCache;
use parking_lot::Mutex;

/// The number of lines of one caller that may come at once. After them the caller has one line a second.
const CALLER_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// The number of lines a second of all callers together. As many may come at once.
const ALL_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// The number of callers that are remembered, about 200 bytes each. A new caller replaces the one not seen
/// for longest.
const CALLERS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// The origin by which lines are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// A principal that has proven its identity.
    Principal(Principal),
    /// The address of a connection that was refused before its principal was proven.
    Address(IpAddr),
    /// An unknown origin: the connection could not be accepted.
    Nowhere,
}

struct Lines {
    limit: DefaultDirectRateLimiter,
    left_out: u64,
}

/// The limits and the counts of all callers.
pub(crate) struct AuditLines {
    all: DefaultDirectRateLimiter,
    callers: Mutex<Callers>,
}

struct Callers {
    known: LruCache<Source, Lines>,
    /// The number of left-out lines of callers that are no longer remembered.
    left_out_of_others: u64,
}

impl AuditLines {
    pub(crate) fn new() -> Self {
        Self {
            all: RateLimiter::direct(Quota::per_second(ALL_PER_SECOND)),
            callers: Mutex::new(Callers {
                known: LruCache::new(CALLERS),
                left_out_of_others: 0,
            }),
        }
    }

    /// Returns how many lines of this caller were left out since its last line, when another line may be
    /// written. Returns None when this line must be left out too.
    pub(crate) fn take(&self, source: Source) -> Option<u64> {
        let mut callers = self.callers.lock();
        if !callers.known.contains(&source) {
            let quota = Quota::per_second(NonZeroU32::MIN).allow_burst(CALLER_AT_ONCE);
            let fresh = Lines {
                limit: RateLimiter::direct(quota),
                left_out: 0,
            };
            if let Some((_, forgotten)) = callers.known.push(source.clone(), fresh) {
                callers.left_out_of_others += forgotten.left_out;
            }
        }
        let lines = callers.known.get_mut(&source)?;
        if lines.limit.check().is_ok() && self.all.check().is_ok() {
            return Some(std::mem::take(&mut lines.left_out));
        }
        lines.left_out += 1;
        None
    }

    /// Returns the number of left-out lines of each caller that was not reported yet, and marks it as
    /// reported. The entry without a caller counts those of callers that are no longer remembered.
    pub(crate) fn untold(&self) -> Vec<(Option<Source>, u64)> {
        let mut callers = self.callers.lock();
        let others = std::mem::take(&mut callers.left_out_of_others);
        let mut untold: Vec<(Option<Source>, u64)> = callers
            .known
            .iter_mut()
            .filter(|(_, lines)| lines.left_out > 0)
            .map(|(source, lines)| (Some(source.clone()), std::mem::take(&mut lines.left_out)))
            .collect();
        untold.extend((others > 0).then_some((None, others)));
        untold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Source {
        Source::Principal(Principal::new(name).unwrap())
    }

    #[test]
    fn a_flood_of_one_caller_is_cut_counted_and_hides_nobody_else() {
        let lines = AuditLines::new();
        let asked = 10_000;
        let written = (0..asked)
            .filter(|_| lines.take(caller("flood")) == Some(0))
            .count() as u64;
        // One more line a second is allowed meanwhile, and it reports the count of left-out lines.
        assert!(written >= 20, "{written}");
        assert_eq!(lines.take(caller("quiet")), Some(0));
        let untold = lines.untold();
        let flood: u64 = untold.iter().map(|(_, count)| count).sum();
        assert!(flood > 0 && untold.iter().all(|(source, _)| *source == Some(caller("flood"))));
        assert!(written + flood <= asked, "{written} {flood}");
        assert!(
            written + flood >= asked - 600,
            "a line a second tells others: {written} {flood}"
        );
        assert_eq!(lines.untold(), []);
    }

    #[test]
    fn many_callers_share_a_limit_and_what_is_forgotten_is_counted_too() {
        let lines = AuditLines::new();
        let callers = 2 * CALLERS.get() as u64;
        let written = (0..callers)
            .filter(|number| lines.take(caller(&number.to_string())).is_some())
            .count() as u64;
        assert!(
            written >= u64::from(ALL_PER_SECOND.get()) && written < callers,
            "{written}"
        );
        let untold = lines.untold();
        assert!(untold.iter().any(|(source, _)| source.is_none()));
        let left_out: u64 = untold.iter().map(|(_, count)| count).sum();
        assert_eq!(written + left_out, callers);
    }
}
