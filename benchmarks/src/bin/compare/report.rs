//! The printed report: a table for people, one JSON object for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::goals;
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

    #[allow(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print_table(&self, machine: &Value) {
        println!("{machine:#}\n");
        println!(
            "{:<12}{:<18}{:<14}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}",
            "system", "workload", "callers", "per s", "p50 us", "p99 us", "p99.9 us", "cpu us", "bytes"
        );
        for row in &self.rows {
            let measured = &row.measured;
            let each = |total: Option<f64>| {
                total.map_or("-".to_owned(), |total| {
                    format!("{:.0}", total / measured.calls.max(1) as f64)
                })
            };
            println!(
                "{:<12}{:<18}{:<14}{:>10.0}{:>9}{:>9}{:>9}{:>9}{:>9}",
                row.system,
                row.workload,
                row.callers,
                measured.per_second(),
                measured.microseconds(0.5),
                measured.microseconds(0.99),
                measured.microseconds(0.999),
                each(measured.usage.map(|usage| usage.cpu_seconds * 1e6)),
                each(measured.usage.map(|usage| usage.written_bytes)),
            );
        }
        let judged = goals::judge(&self.figures);
        println!("\n{:<38}{:>14}  goal", "figure", "measured");
        for (name, figure) in &self.figures {
            let goal = judged.iter().find(|goal| goal.name == *name);
            let goal = goal.map_or(String::new(), |goal| {
                let verdict = if goal.is_reached { "reached" } else { "missed" };
                format!("  {:<20}{verdict}", goal.bound.to_string())
            });
            println!("{name:<38}{figure:>14.3}{goal}");
        }
    }

    #[allow(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print_json(&self, machine: &Value) {
        println!("{}", self.to_json(machine));
    }

    fn to_json(&self, machine: &Value) -> Value {
        let rows = self.rows.iter().map(|row| {
            let measured = &row.measured;
            json!({
                "system": row.system,
                "workload": row.workload,
                "callers": row.callers,
                "calls": measured.calls,
                "per_second": measured.per_second(),
                "p50_us": measured.microseconds(0.5),
                "p99_us": measured.microseconds(0.99),
                "p999_us": measured.microseconds(0.999),
                "cpu_seconds": measured.usage.map(|usage| usage.cpu_seconds),
                "written_bytes": measured.usage.map(|usage| usage.written_bytes),
            })
        });
        let rows: Vec<Value> = rows.collect();
        let goals = goals::to_json(&goals::judge(&self.figures));
        json!({ "machine": machine, "rows": rows, "ratios": self.figures, "goals": goals })
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

    #[test]
    fn the_object_for_programs_has_rows_ratios_and_goals() {
        let mut report = made_up();
        goals::compute_figures(&mut report);
        let object = report.to_json(&json!({ "cores": 2 }));
        assert_eq!(object["machine"]["cores"], 2);
        assert_eq!(object["rows"].as_array().map(Vec::len), Some(report.rows.len()));
        assert_eq!(object["rows"][0]["p99_us"], 100);
        assert_eq!(object["rows"][0]["cpu_seconds"], Value::Null);
        assert_eq!(object["ratios"]["unary_256_hot_over_postgres"], 40.0);
        let goal = &object["goals"]["stream_hot_per_s"];
        assert_eq!(goal["goal"], "at least 250000");
        assert_eq!(goal["measured"], 200_000.0);
        assert_eq!(goal["reached"], false);
    }
}
