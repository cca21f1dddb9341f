//! The limits a second of one channel.

use std::time::Duration;

use tokio::time::Instant;

use super::config::Limits;

/// The part of the bytes a second that is used. With requests of a tenth of the limit, no second has more
/// than the limit, wherever it begins.
const USED: f64 = 0.85;

/// Spaces the requests of a channel, so that it stays below the limits whatever second is looked at.
#[derive(Debug)]
pub(super) struct Pace {
    next: Instant,
    between: Duration,
    bytes_per_second: f64,
}

impl Pace {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            next: Instant::now(),
            between: Duration::from_secs(1) / limits.requests_per_second.max(1),
            bytes_per_second: f64::from(limits.bytes_per_second) * USED,
        }
    }

    /// Waits until the next request may be sent.
    pub(super) async fn wait(&self) {
        tokio::time::sleep_until(self.next).await;
    }

    /// Notes that a request with these bytes, before they were compressed, has ended. The time counts from
    /// its end, so requests arrive at least as far apart as they were sent.
    pub(super) fn sent(&mut self, plain_bytes: usize) {
        let for_bytes = Duration::from_secs_f64(plain_bytes as f64 / self.bytes_per_second);
        self.next = Instant::now() + self.between.max(for_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends requests as fast as the pace allows, and returns when and how large each was.
    async fn send(pieces: &[usize], limits: &Limits) -> Vec<(Duration, usize)> {
        let began = Instant::now();
        let mut pace = Pace::new(limits);
        let mut sent = Vec::new();
        for bytes in pieces {
            pace.wait().await;
            sent.push((began.elapsed(), *bytes));
            pace.sent(*bytes);
        }
        sent
    }

    #[tokio::test(start_paused = true)]
    async fn no_second_has_more_than_the_limits() {
        let limits = Limits::default();
        for pieces in [
            vec![2_000_000; 60],
            vec![100; 60],
            [[2_000_000, 100, 100]; 30].concat(),
        ] {
            let sent = send(&pieces, &limits).await;
            for (from, _) in &sent {
                let second = sent
                    .iter()
                    .filter(|(at, _)| at >= from && *at < *from + Duration::from_secs(1));
                let (count, bytes) = second.fold((0, 0), |(count, sum), (_, bytes)| (count + 1, sum + bytes));
                assert!(
                    count <= 10 && bytes <= 20_000_000,
                    "{count} requests, {bytes} bytes"
                );
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn small_requests_are_not_slower_than_they_must_be() {
        let sent = send(&[100; 11], &Limits::default()).await;
        assert_eq!(sent[10].0.as_millis(), 1_000);
    }
}
