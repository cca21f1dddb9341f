//! How many audit lines are written. Whoever is refused decides how often, and must not fill a disk with it or hide others:
//! each caller has so many lines, all together have so many, and what was left out is counted and told.

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use holdfast_api::names::Principal;
use lru::LruCache;
use parking_lot::Mutex;

/// Lines of one caller: so many at once, and then one a second.
const CALLER_AT_ONCE: NonZeroU32 = NonZeroU32::new(20).unwrap();
/// Lines a second of all callers, and as many at once.
const ALL_PER_SECOND: NonZeroU32 = NonZeroU32::new(200).unwrap();
/// Callers that are remembered; the one not seen for longest makes room. About 200 bytes each.
const CALLERS: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();

/// Whose lines are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// Who came in.
    Principal(Principal),
    /// From where somebody did not come in: who it is was not proven.
    Address(IpAddr),
    /// Nobody knows from where somebody wanted to come in.
    Nowhere,
}

struct Lines {
    limit: DefaultDirectRateLimiter,
    left_out: u64,
}

/// The lines of all callers.
pub(crate) struct AuditLines {
    all: DefaultDirectRateLimiter,
    callers: Mutex<Callers>,
}

struct Callers {
    known: LruCache<Source, Lines>,
    /// Left out of callers that are forgotten.
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

    /// May a line be written about this caller? Then how many were left out since the last one; None: this one is left out.
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

    /// What was left out and not told yet, of each caller; None for callers that are forgotten.
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
        // One a second comes free meanwhile, then the count is told with it.
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
