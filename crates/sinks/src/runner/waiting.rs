//! The changes that were read and are not in the target yet.

use std::collections::VecDeque;

use holdfast_api::v1::Change;

/// The log times of what is under way, one for each batch. Its size is bounded by the batches under way.
#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<(u64, u64)>);

impl Waiting {
    /// Notes a batch that was read.
    pub(crate) fn read(&mut self, changes: &[Change]) {
        if let (Some(first), Some(last)) = (changes.first(), changes.last()) {
            self.0.push_back((last.seq, first.log_time_ms));
        }
    }

    /// Notes that the target has everything through a change.
    pub(crate) fn arrived(&mut self, through_seq: u64) {
        while self
            .0
            .front()
            .is_some_and(|(last_seq, _)| *last_seq <= through_seq)
        {
            self.0.pop_front();
        }
    }

    /// Returns the log time of the oldest change under way, in milliseconds since the Unix epoch; 0 when
    /// nothing is.
    pub(crate) fn oldest_ms(&self) -> u64 {
        self.0.front().map_or(0, |(_, log_time_ms)| *log_time_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(seqs: std::ops::RangeInclusive<u64>) -> Vec<Change> {
        seqs.map(|seq| Change {
            seq,
            log_time_ms: 1_000 + seq,
            ..Change::default()
        })
        .collect()
    }

    #[test]
    fn the_oldest_change_is_the_first_of_the_oldest_batch_that_has_not_arrived_whole() {
        let mut waiting = Waiting::default();
        assert_eq!(waiting.oldest_ms(), 0);
        waiting.read(&batch(1..=3));
        waiting.read(&[]);
        waiting.read(&batch(4..=5));
        assert_eq!(waiting.oldest_ms(), 1_001);
        waiting.arrived(2);
        assert_eq!(waiting.oldest_ms(), 1_001);
        waiting.arrived(3);
        assert_eq!(waiting.oldest_ms(), 1_004);
        waiting.arrived(9);
        assert_eq!(waiting.oldest_ms(), 0);
    }
}
