//! The numbers of a stream of changes, and the sums of its changes.

use std::collections::BTreeMap;

/// A gap: a number that is not the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// The number that had to come.
    pub expected: u64,
    /// The number that came.
    pub found: u64,
}

/// Returns the first number that does not follow the one before it. The first number has to be `first`.
pub fn first_gap(first: u64, numbers: impl IntoIterator<Item = u64>) -> Option<Gap> {
    (first..)
        .zip(numbers)
        .find(|(expected, found)| expected != found)
        .map(|(expected, found)| Gap { expected, found })
}

/// A difference: the sum that a change reports is not the sum of the changes up to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Differs {
    /// The sum of the changes.
    pub sum: i64,
    /// The sum that the change reports.
    pub said: i64,
}

/// Sums of the changes of many places.
#[derive(Debug, Clone)]
pub struct Sums<Place>(BTreeMap<Place, i64>);

impl<Place> Default for Sums<Place> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Place: Ord> Sums<Place> {
    /// Adds units that moved. The change says how many there were afterwards.
    ///
    /// # Errors
    /// When the sum is another one.
    pub fn moved(&mut self, place: Place, delta: i64, after: i64) -> Result<(), Differs> {
        let sum = self.0.entry(place).or_default();
        *sum = sum.saturating_add(delta);
        match *sum == after {
            true => Ok(()),
            false => Err(Differs {
                sum: *sum,
                said: after,
            }),
        }
    }

    /// Returns the sum of a place; 0 where nothing moved.
    pub fn of(&self, place: &Place) -> i64 {
        self.0.get(place).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_repetitions_and_a_wrong_beginning_are_found() {
        assert_eq!(first_gap(1, 1..=5), None);
        assert_eq!(first_gap(1, []), None);
        let gap = |expected, found| Some(Gap { expected, found });
        assert_eq!(first_gap(1, [1, 2, 4]), gap(3, 4));
        assert_eq!(first_gap(1, [1, 2, 2]), gap(3, 2));
        assert_eq!(first_gap(3, [1, 2]), gap(3, 1));
    }

    #[test]
    fn sums_are_of_their_place_and_a_wrong_one_is_found() {
        let mut sums = Sums::default();
        assert_eq!(sums.moved("tea", 5, 5), Ok(()));
        assert_eq!(sums.moved("jam", 1, 1), Ok(()));
        assert_eq!(sums.moved("tea", -2, 3), Ok(()));
        assert_eq!(sums.moved("tea", -1, 3), Err(Differs { sum: 2, said: 3 }));
        assert_eq!((sums.of(&"tea"), sums.of(&"jam"), sums.of(&"oil")), (2, 1, 0));
    }
}
