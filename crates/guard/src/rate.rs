//! Limits how many requests one principal may send.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use holdfast_api::names::Principal;

/// Limits the requests per second of each principal, by the generic cell rate algorithm. It remembers only
/// principals that the CA has certified, so the CA bounds the memory.
pub struct Rates(DefaultKeyedRateLimiter<Principal>);

impl Rates {
    /// Returns a limiter, or None when the number is 0: no limit.
    pub fn new(requests_per_second: u32) -> Option<Self> {
        let limit = NonZeroU32::new(requests_per_second)?;
        Some(Self(RateLimiter::keyed(Quota::per_second(limit))))
    }

    /// Counts one request of a principal.
    ///
    /// # Errors
    /// The principal is at its limit: returns how long to wait.
    pub fn take(&self, principal: &Principal) -> Result<(), Duration> {
        let checked = self.0.check_key(principal);
        checked.map_err(|not_until| not_until.wait_time_from(DefaultClock::default().now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_principal_has_its_own_limit_and_is_told_how_long_to_wait() {
        assert!(Rates::new(0).is_none());
        let rates = Rates::new(1).unwrap();
        let (one, other) = (Principal::new("one").unwrap(), Principal::new("other").unwrap());
        assert_eq!(rates.take(&one), Ok(()));
        let wait = rates.take(&one).unwrap_err();
        assert!(
            wait > Duration::ZERO && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
        assert_eq!(rates.take(&other), Ok(()));
    }
}
