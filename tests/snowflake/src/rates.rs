//! The rates of one channel.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// The requests of the last second, and their bytes before they were compressed.
#[derive(Debug, Default)]
pub(crate) struct Rates(VecDeque<(Instant, u64)>);

impl Rates {
    /// Counts a request. Returns what is wrong when the second that ends now has too much.
    pub(crate) fn count(&mut self, plain_bytes: u64, requests_max: u64, bytes_max: u64) -> Option<String> {
        let now = Instant::now();
        while self.0.front().is_some_and(|(at, _)| now - *at >= SECOND) {
            self.0.pop_front();
        }
        let requests = self.0.len() as u64 + 1;
        let bytes = self.0.iter().map(|(_, bytes)| bytes).sum::<u64>() + plain_bytes;
        if requests > requests_max {
            return Some(format!(
                "{requests} requests in a second, {requests_max} are allowed"
            ));
        }
        if bytes > bytes_max {
            return Some(format!("{bytes} bytes in a second, {bytes_max} are allowed"));
        }
        self.0.push_back((now, plain_bytes));
        None
    }
}
