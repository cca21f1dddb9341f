//! The printed report: a table for people, one JSON object for programs.

use serde_json::{Value, json};

use crate::goals;
use crate::report::Report;

impl Report {
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
mod tests {
    use super::*;
    use crate::report::tests::made_up;

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
