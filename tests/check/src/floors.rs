//! The entries of a log that were known, and since when.

use std::collections::BTreeMap;

/// The last entry of a log that somebody knew at each moment: an earlier acknowledgement or read had named
/// it.
#[derive(Debug, Clone, Default)]
pub struct Floors(BTreeMap<u64, u64>);

impl Floors {
    /// Builds the floors of one log from its answers: when each came, and which entry it named.
    pub fn new(answers: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut answers: Vec<(u64, u64)> = answers.into_iter().collect();
        answers.sort_unstable();
        let mut highest = 0;
        let mut floors = BTreeMap::new();
        for (at, index) in answers {
            highest = highest.max(index);
            floors.insert(at, highest);
        }
        Self(floors)
    }

    /// Returns the last entry that somebody knew before this moment; 0 when nobody knew any. An operation
    /// that begins at this moment takes effect after that entry, and a linearizable read that begins then
    /// sees it.
    pub fn before(&self, at: u64) -> u64 {
        self.0.range(..at).next_back().map_or(0, |(_, index)| *index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_entry_named_before_a_moment_counts() {
        let floors = Floors::new([(30, 5), (10, 7), (20, 9)]);
        let before: Vec<u64> = [0, 10, 11, 20, 21, 31, 1_000]
            .map(|at| floors.before(at))
            .to_vec();
        assert_eq!(before, [0, 0, 7, 7, 9, 9, 9]);
    }
}
