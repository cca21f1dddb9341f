//! The distribution of times.

use std::fmt;
use std::time::Duration;

/// The distribution of some times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distribution {
    /// All times, the shortest first; never empty.
    sorted: Vec<Duration>,
}

impl Distribution {
    /// Makes a distribution, or none when there are no times.
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort_unstable();
        (!times.is_empty()).then_some(Self { sorted: times })
    }

    /// Returns the number of times.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// Returns the time that this percentage of the times does not exceed.
    pub fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.sorted.len() * percent).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// Returns the shortest time.
    pub fn min(&self) -> Duration {
        self.percentile(0)
    }

    /// Returns the time in the middle.
    pub fn median(&self) -> Duration {
        self.percentile(50)
    }

    /// Returns the longest time.
    pub fn max(&self) -> Duration {
        self.percentile(100)
    }

    /// Returns the distribution as JSON, in milliseconds.
    pub fn json(&self) -> serde_json::Value {
        let ms = |time: Duration| time.as_millis();
        serde_json::json!({
            "count": self.count(),
            "min_ms": ms(self.min()),
            "median_ms": ms(self.median()),
            "p90_ms": ms(self.percentile(90)),
            "max_ms": ms(self.max()),
        })
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |time: Duration| time.as_millis();
        write!(
            f,
            "min {} ms, median {} ms, p90 {} ms, max {} ms",
            ms(self.min()),
            ms(self.median()),
            ms(self.percentile(90)),
            ms(self.max()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_times_do_not_exceed_the_median() -> anyhow::Result<()> {
        let times = (1..=10).rev().map(Duration::from_millis).collect();
        let all = Distribution::of(times).ok_or_else(|| anyhow::anyhow!("there are some"))?;
        let told = [all.min(), all.median(), all.percentile(90), all.max()];
        assert_eq!(told.map(|time| time.as_millis()), [1, 5, 9, 10]);
        assert_eq!(Distribution::of(Vec::new()), None);
        Ok(())
    }
}
