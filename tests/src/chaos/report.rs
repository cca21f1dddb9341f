//! What rounds have shown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Fault;
use crate::load::Seen;

/// Sums over all rounds.
#[derive(Debug, Default)]
pub struct Report {
    rounds: u64,
    granted: u64,
    refused: u64,
    unknown: u64,
    faults: BTreeMap<Fault, Borne>,
}

/// Of one fault.
#[derive(Debug, Default)]
struct Borne {
    times: u64,
    /// The longest time in which no buyer was granted anything.
    longest_gap: Duration,
    /// Grants a second while it lasted, the fewest of all times.
    fewest_per_second: Option<f64>,
}

impl Report {
    pub(super) fn bore(&mut self, fault: Fault, grants: u64, took: Duration, gap: Duration) {
        let borne = self.faults.entry(fault).or_default();
        let per_second = grants as f64 / took.as_secs_f64();
        borne.times += 1;
        borne.longest_gap = borne.longest_gap.max(gap);
        borne.fewest_per_second = Some(
            borne
                .fewest_per_second
                .map_or(per_second, |fewest| fewest.min(per_second)),
        );
    }

    pub(super) fn bought(&mut self, seen: &Seen) {
        self.granted += seen.granted.len() as u64;
        self.refused += seen.refused;
        self.unknown += seen.unknown.len() as u64;
    }

    pub(super) fn round_is_over(&mut self) {
        self.rounds += 1;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            granted,
            refused,
            unknown,
            faults,
        } = self;
        writeln!(
            f,
            "{rounds} rounds; orders: {granted} granted, {refused} refused, {unknown} without an answer and settled by their id"
        )?;
        writeln!(
            f,
            "{:<20}{:>8}{:>24}{:>24}",
            "fault", "times", "longest gap, ms", "fewest grants/s"
        )?;
        for (fault, borne) in faults {
            writeln!(
                f,
                "{:<20}{:>8}{:>24}{:>24.0}",
                format!("{fault:?}"),
                borne.times,
                borne.longest_gap.as_millis(),
                borne.fewest_per_second.unwrap_or_default()
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_each_fault_is_told() {
        let mut report = Report::default();
        let second = Duration::from_secs(1);
        report.bore(Fault::DiskFull, 300, second, second / 2);
        report.bore(Fault::DiskFull, 100, second, second / 4);
        report.bore(Fault::AllKilled, 50, second, second * 2);
        report.round_is_over();
        let text = report.to_string();
        let line = |name: &str| -> Vec<String> {
            let line = text
                .lines()
                .find(|line| line.starts_with(name))
                .unwrap_or_default();
            line.split_whitespace().map(str::to_owned).collect()
        };
        assert_eq!(line("DiskFull"), ["DiskFull", "2", "500", "100"]);
        assert_eq!(line("AllKilled"), ["AllKilled", "1", "2000", "50"]);
        assert!(text.starts_with("1 rounds;"));
    }
}
