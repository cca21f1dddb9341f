//! Measurement of how clients are served.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;

/// Longest latency that is measured, in microseconds; longer ones count as this long.
const LONGEST_US: u64 = 600_000_000;

/// Number of significant digits to which latencies are kept.
const DIGITS: u8 = 3;

/// The service of clients of one kind since it was last taken.
#[derive(Debug)]
pub struct Meter(Mutex<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    last_grant: Instant,
    service: Service,
}

/// The service of clients during a period.
#[derive(Debug, Clone)]
pub struct Service {
    /// Length of the period.
    pub took: Duration,
    /// Calls that were granted.
    pub grants: u64,
    /// Calls without an answer.
    pub unanswered: u64,
    /// The longest time in which nobody was granted anything, including the ends of the period.
    pub longest_gap: Duration,
    /// Latencies of calls until they were answered, in microseconds.
    pub latency_us: Histogram<u64>,
}

impl Service {
    /// Makes the service of a period in which nobody was served.
    ///
    /// # Errors
    /// Never with the bounds used here.
    pub fn none() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self {
            took: Duration::ZERO,
            grants: 0,
            unanswered: 0,
            longest_gap: Duration::ZERO,
            latency_us: Histogram::new_with_max(LONGEST_US, DIGITS)?,
        })
    }

    /// Returns the grants per second.
    pub fn grants_per_second(&self) -> f64 {
        self.grants as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
}

impl Meter {
    /// Begins to measure.
    ///
    /// # Errors
    /// The same as for [`Service::none`].
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        let now = Instant::now();
        Ok(Self(Mutex::new(State {
            began: now,
            last_grant: now,
            service: Service::none()?,
        })))
    }

    /// Notes that a call which was sent then is granted.
    pub fn granted(&self, sent: Instant) {
        let mut state = self.0.lock();
        let now = Instant::now();
        let gap = now.duration_since(state.last_grant);
        state.last_grant = now;
        let service = &mut state.service;
        service.longest_gap = service.longest_gap.max(gap);
        service.grants += 1;
        service
            .latency_us
            .saturating_record(micros(now.duration_since(sent)));
    }

    /// Notes that a call which was sent then is refused.
    pub fn refused(&self, sent: Instant) {
        let latency = micros(sent.elapsed());
        self.0.lock().service.latency_us.saturating_record(latency);
    }

    /// Notes that a call got no answer.
    pub fn unanswered(&self) {
        self.0.lock().service.unanswered += 1;
    }

    /// Returns the service since it was last taken, and begins a new period.
    pub fn take(&self) -> Service {
        let mut state = self.0.lock();
        let now = Instant::now();
        let mut service = state.service.clone();
        service.took = now.duration_since(state.began);
        service.longest_gap = service.longest_gap.max(now.duration_since(state.last_grant));
        state.began = now;
        state.last_grant = now;
        let fresh = &mut state.service;
        (fresh.grants, fresh.unanswered, fresh.longest_gap) = (0, 0, Duration::ZERO);
        fresh.latency_us.reset();
        service
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_before_does_not_count_again() -> anyhow::Result<()> {
        let meter = Meter::new()?;
        let sent = Instant::now();
        meter.granted(sent);
        meter.refused(sent);
        meter.unanswered();
        let first = meter.take();
        assert_eq!(
            (first.grants, first.unanswered, first.latency_us.len()),
            (1, 1, 2)
        );
        let second = meter.take();
        assert_eq!(
            (second.grants, second.unanswered, second.latency_us.len()),
            (0, 0, 0)
        );
        assert_eq!(second.longest_gap, second.took, "nobody was granted anything");
        Ok(())
    }
}
