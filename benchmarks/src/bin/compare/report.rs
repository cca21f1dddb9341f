//! What is printed: a table for people, one JSON object for programs.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::load::Measured;

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
    /// By the names of the design's goals.
    pub(crate) ratios: BTreeMap<&'static str, f64>,
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

    /// The measurement of this name; none when it was not made.
    pub(crate) fn find(&self, system: &str, workload: &str, callers: &str) -> Option<&Measured> {
        let same = |row: &&Row| row.system == system && row.workload == workload && row.callers == callers;
        self.rows.iter().find(same).map(|row| &row.measured)
    }

    /// The most calls per second that a system reached, however it was called.
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
            let each = |total: f64| total / measured.calls.max(1) as f64;
            println!(
                "{:<12}{:<18}{:<14}{:>10.0}{:>9}{:>9}{:>9}{:>9.0}{:>9.0}",
                row.system,
                row.workload,
                row.callers,
                measured.per_second(),
                measured.microseconds(0.5),
                measured.microseconds(0.99),
                measured.microseconds(0.999),
                each(measured.usage.cpu_seconds * 1e6),
                each(measured.usage.written_bytes),
            );
        }
        println!();
        for (name, ratio) in &self.ratios {
            println!("{name:<34}{ratio:>14.3}");
        }
    }

    #[allow(clippy::print_stdout, reason = "this is what the program is for")]
    pub(crate) fn print_json(&self, machine: &Value) {
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
                "cpu_seconds": measured.usage.cpu_seconds,
                "written_bytes": measured.usage.written_bytes,
            })
        });
        let rows: Vec<Value> = rows.collect();
        println!(
            "{}",
            json!({ "machine": machine, "rows": rows, "ratios": self.ratios })
        );
    }
}
