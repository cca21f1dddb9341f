//! The report: everything that was measured in one run.

use std::collections::BTreeMap;

use crate::load::Measured;

pub(crate) const ECHO: &str = "gRPC echo";
pub(crate) const HOLDFAST: &str = "Holdfast";
pub(crate) const POSTGRES: &str = "PostgreSQL";
pub(crate) const REDIS: &str = "Redis";

/// Orders of one line, made in turn with those of five lines.
pub(crate) const ORDERS_OF_ONE: &str = "order of 1 line";
/// Orders with a line in each of five shards.
pub(crate) const ORDERS_OF_FIVE: &str = "order of 5 lines";
/// Workload of reserve, commit and ship.
pub(crate) const LIFECYCLE: &str = "lifecycle";
/// Workload of reserve and commit.
pub(crate) const RESERVE_COMMIT: &str = "reserve, commit";

/// Unary calls at a fixed rate.
pub(crate) const RATE_2K: &str = "2K/s";
/// Calls through a batch stream, as fast as it goes.
pub(crate) const STREAM: &str = "stream";
/// Calls through a batch stream at a fixed rate, while the changes are consumed.
pub(crate) const CHANGES_20K: &str = "20K/s stream";
/// Users of one batch stream, each with one call at a time.
pub(crate) const USERS_1000: &str = "1000 stream";

/// One measurement.
pub(crate) struct Row {
    pub(crate) system: &'static str,
    pub(crate) workload: String,
    pub(crate) callers: String,
    pub(crate) measured: Measured,
}

/// Everything that was measured in one run.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    /// Ratios and single numbers, by name.
    pub(crate) figures: BTreeMap<&'static str, f64>,
}

impl Report {
    pub(crate) fn add(&mut self, system: &'static str, workload: &str, callers: &str, measured: Measured) {
        let row = Row {
            system,
            workload: workload.to_owned(),
            callers: callers.to_owned(),
            measured,
        };
        self.progress(&row);
        self.rows.push(row);
    }

    /// Returns the measurement of this name, or none when it was not made.
    pub(crate) fn find(&self, system: &str, workload: &str, callers: &str) -> Option<&Measured> {
        let same = |row: &&Row| row.system == system && row.workload == workload && row.callers == callers;
        self.rows.iter().find(same).map(|row| &row.measured)
    }

    /// Returns the most calls per second that a system reached with this workload, however it was called.
    pub(crate) fn best_per_second(&self, system: &str, workload: &str) -> Option<f64> {
        let rows = self.rows.iter();
        let rates = rows.filter(|row| row.system == system && row.workload == workload);
        rates.map(|row| row.measured.per_second()).max_by(f64::total_cmp)
    }

    #[allow(clippy::print_stderr, reason = "progress of a long run")]
    fn progress(&self, row: &Row) {
        eprintln!(
            "{:<12}{:<18}{:<14}{:>10.0}/s",
            row.system,
            row.workload,
            row.callers,
            row.measured.per_second()
        );
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latencies::histogram;
    use crate::workload::Workload;

    /// Makes a measurement of this many calls in one second, all with this latency.
    fn measured(calls: u64, latency_us: u64) -> Measured {
        let mut latency = histogram().unwrap();
        latency.record_n(latency_us, calls).unwrap();
        Measured {
            calls,
            elapsed: Duration::from_secs(1),
            latency,
            usage: None,
        }
    }

    /// Makes a report in which every ratio of the systems is a round number.
    pub(crate) fn made_up() -> Report {
        let (hot, spread) = (Workload::Hot.name(), Workload::Spread.name());
        let mut report = Report::default();
        for (system, workload, callers, calls, latency_us) in [
            (ECHO, spread, "1", 10_000, 100),
            (ECHO, spread, "256", 50_000, 5_000),
            (HOLDFAST, spread, "1", 2_000, 480),
            (HOLDFAST, spread, "256", 30_000, 8_000),
            (HOLDFAST, hot, "256", 20_000, 8_000),
            (HOLDFAST, spread, RATE_2K, 2_000, 1_500),
            (HOLDFAST, ORDERS_OF_ONE, "1", 2_000, 500),
            (HOLDFAST, ORDERS_OF_FIVE, "1", 1_000, 1_000),
            (HOLDFAST, spread, STREAM, 300_000, 50_000),
            (HOLDFAST, hot, STREAM, 200_000, 50_000),
            (HOLDFAST, spread, CHANGES_20K, 20_000, 1_000),
            (HOLDFAST, RESERVE_COMMIT, USERS_1000, 120_000, 8_000),
            (POSTGRES, spread, "256", 5_000, 50_000),
            (POSTGRES, hot, "256", 500, 500_000),
            (REDIS, spread, "256", 40_000, 6_000),
            (REDIS, spread, "pipelined", 60_000, 16_000),
            (REDIS, hot, "256", 50_000, 5_000),
        ] {
            report.add(system, workload, callers, measured(calls, latency_us));
        }
        report.figures.insert("data_sync_p50_ms", 0.1);
        report
    }

    #[test]
    fn the_best_of_a_system_counts_however_it_was_called() {
        let best = made_up().best_per_second(REDIS, Workload::Spread.name());
        assert_eq!(best, Some(60_000.0));
    }
}
