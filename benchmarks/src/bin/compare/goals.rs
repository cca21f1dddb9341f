//! The goals of the design that a run can judge, and the figures that they need.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::report::{
    CHANGES_20K, ECHO, HOLDFAST, ORDERS_OF_FIVE, ORDERS_OF_ONE, POSTGRES, RATE_2K, REDIS, RESERVE_COMMIT,
    Report, STREAM, USERS_1000,
};
use crate::workload::Workload;

/// The bound that a figure has to keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Below(f64),
}

impl Bound {
    fn is_kept_by(self, figure: f64) -> bool {
        match self {
            Self::AtLeast(bound) => figure >= bound,
            Self::AtMost(bound) => figure <= bound,
            Self::Below(bound) => figure < bound,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "at least {bound}"),
            Self::AtMost(bound) => write!(f, "at most {bound}"),
            Self::Below(bound) => write!(f, "below {bound}"),
        }
    }
}

/// Goals by the name of their figure, as in the design's table "Numbers to reach".
const GOALS: [(&str, Bound); 22] = [
    ("unary_1_p50_ms", Bound::Below(0.5)),
    ("unary_1_p99_ms", Bound::Below(1.0)),
    ("unary_1_p50_over_floor", Bound::AtMost(2.0)),
    ("rate_2k_p99_ms", Bound::Below(2.0)),
    ("rate_2k_p999_ms", Bound::Below(10.0)),
    ("unary_256_over_echo", Bound::AtLeast(0.5)),
    ("unary_256_spread_over_postgres", Bound::AtLeast(3.0)),
    ("unary_256_hot_over_postgres", Bound::AtLeast(20.0)),
    ("stream_spread_per_s", Bound::AtLeast(250_000.0)),
    ("stream_hot_per_s", Bound::AtLeast(250_000.0)),
    ("stream_spread_over_redis_best", Bound::AtLeast(3.0)),
    ("stream_hot_over_redis_best", Bound::AtLeast(3.0)),
    ("reserve_commit_1000_users_per_s", Bound::AtLeast(100_000.0)),
    ("reserve_commit_1000_users_p99_ms", Bound::Below(50.0)),
    ("order5_over_single_p50", Bound::AtMost(2.5)),
    ("apply_per_s", Bound::AtLeast(2_000_000.0)),
    ("bytes_per_cell", Bound::AtMost(64.0)),
    ("replay_per_s", Bound::AtLeast(1_000_000.0)),
    ("change_lag_p99_ms", Bound::Below(50.0)),
    ("sinks_redis_p99_ms", Bound::Below(100.0)),
    ("sinks_runner_cores", Bound::AtMost(0.6)),
    // The lag counts only if the 20K/s were kept up, with the last answers of the run included.
    ("change_rate_per_s", Bound::AtLeast(19_000.0)),
];

/// A goal, and the figure that was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Judged {
    pub(crate) name: &'static str,
    pub(crate) bound: Bound,
    pub(crate) figure: f64,
    pub(crate) is_reached: bool,
}

/// Judges the goals whose figure was measured.
pub(crate) fn judge(figures: &BTreeMap<&'static str, f64>) -> Vec<Judged> {
    let judged = GOALS.into_iter().filter_map(|(name, bound)| {
        let figure = *figures.get(name)?;
        Some(Judged {
            name,
            bound,
            figure,
            is_reached: bound.is_kept_by(figure),
        })
    });
    judged.collect()
}

/// Renders the judged goals as JSON, for programs.
pub(crate) fn to_json(judged: &[Judged]) -> Value {
    let goals = judged.iter().map(|goal| {
        let value =
            json!({ "goal": goal.bound.to_string(), "measured": goal.figure, "reached": goal.is_reached });
        (goal.name.to_owned(), value)
    });
    Value::Object(goals.collect())
}

/// Computes the figures of the goals from the rows of a report. A figure that was not measured is left out.
pub(crate) fn compute_figures(report: &mut Report) {
    let (hot, spread) = (Workload::Hot.name(), Workload::Spread.name());
    let row = |system, workload, callers| report.find(system, workload, callers);
    let p50 = |system, workload, callers| Some(row(system, workload, callers)?.milliseconds(0.5));
    let rate = |system, workload, callers| Some(row(system, workload, callers)?.per_second());
    let over = |one: Option<f64>, other: Option<f64>| Some(one? / other?);

    let unary = row(HOLDFAST, spread, "1");
    let fixed = row(HOLDFAST, spread, RATE_2K);
    let users = row(HOLDFAST, RESERVE_COMMIT, USERS_1000);
    let sync_ms = report.figures.get("data_sync_p50_ms");
    let floor_ms = p50(ECHO, spread, "1").zip(sync_ms);
    let floor_ms = floor_ms.map(|(echo, sync)| 2.0 * echo + sync);
    let (spread_256, hot_256) = (rate(HOLDFAST, spread, "256"), rate(HOLDFAST, hot, "256"));
    let (stream_spread, stream_hot) = (rate(HOLDFAST, spread, STREAM), rate(HOLDFAST, hot, STREAM));
    let figures = [
        ("unary_1_p50_ms", unary.map(|row| row.milliseconds(0.5))),
        ("unary_1_p99_ms", unary.map(|row| row.milliseconds(0.99))),
        (
            "unary_1_p50_over_floor",
            over(p50(HOLDFAST, spread, "1"), floor_ms),
        ),
        ("rate_2k_p99_ms", fixed.map(|row| row.milliseconds(0.99))),
        ("rate_2k_p999_ms", fixed.map(|row| row.milliseconds(0.999))),
        ("unary_256_over_echo", over(spread_256, rate(ECHO, spread, "256"))),
        (
            "unary_256_spread_over_postgres",
            over(spread_256, rate(POSTGRES, spread, "256")),
        ),
        (
            "unary_256_hot_over_postgres",
            over(hot_256, rate(POSTGRES, hot, "256")),
        ),
        ("stream_spread_per_s", stream_spread),
        ("stream_hot_per_s", stream_hot),
        (
            "stream_spread_over_redis_best",
            over(stream_spread, report.best_per_second(REDIS, spread)),
        ),
        (
            "stream_hot_over_redis_best",
            over(stream_hot, report.best_per_second(REDIS, hot)),
        ),
        (
            "reserve_commit_1000_users_per_s",
            users.map(|row| row.per_second()),
        ),
        (
            "reserve_commit_1000_users_p99_ms",
            users.map(|row| row.milliseconds(0.99)),
        ),
        (
            "order5_over_single_p50",
            over(
                p50(HOLDFAST, ORDERS_OF_FIVE, "1"),
                p50(HOLDFAST, ORDERS_OF_ONE, "1"),
            ),
        ),
        ("change_rate_per_s", rate(HOLDFAST, spread, CHANGES_20K)),
    ];
    let known = figures
        .into_iter()
        .filter_map(|(name, figure)| Some((name, figure?)));
    let known: Vec<(&'static str, f64)> = known.collect();
    report.figures.extend(known);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::made_up;

    /// Checks that a figure equals the expected one within the precision of a histogram of three digits.
    fn assert_close(figures: &BTreeMap<&'static str, f64>, name: &str, expected: f64) {
        let figure = figures[name];
        assert!((figure / expected - 1.0).abs() < 0.002, "{name} is {figure}");
    }

    #[test]
    fn ratios_are_of_the_rows_they_name() {
        let mut report = made_up();
        compute_figures(&mut report);
        for (name, expected) in [
            ("unary_1_p50_over_floor", 0.48 / 0.3),
            ("unary_256_over_echo", 0.6),
            ("unary_256_spread_over_postgres", 6.0),
            ("unary_256_hot_over_postgres", 40.0),
            ("stream_spread_over_redis_best", 5.0),
            ("stream_hot_over_redis_best", 4.0),
            ("order5_over_single_p50", 2.0),
            ("rate_2k_p99_ms", 1.5),
            ("rate_2k_p999_ms", 1.5),
            ("reserve_commit_1000_users_per_s", 120_000.0),
            ("reserve_commit_1000_users_p99_ms", 8.0),
        ] {
            assert_close(&report.figures, name, expected);
        }
    }

    #[test]
    fn what_was_not_measured_has_no_figure_and_no_goal() {
        let mut report = made_up();
        report.rows.retain(|row| row.system != POSTGRES);
        compute_figures(&mut report);
        assert!(!report.figures.contains_key("unary_256_spread_over_postgres"));
        let judged = judge(&report.figures);
        assert!(
            judged
                .iter()
                .all(|goal| goal.name != "unary_256_spread_over_postgres")
        );
        assert!(judged.iter().all(|goal| goal.name != "replay_per_s"));
    }

    #[test]
    fn a_goal_is_reached_or_missed() {
        let figures = BTreeMap::from([
            ("bytes_per_cell", 64.0),
            ("unary_1_p50_ms", 0.5),
            ("replay_per_s", 999_999.0),
            ("apply_per_s", 2_000_000.0),
        ]);
        let judged = judge(&figures);
        let reached = judged.iter().map(|goal| (goal.name, goal.is_reached));
        assert_eq!(
            reached.collect::<BTreeMap<_, _>>(),
            BTreeMap::from([
                ("bytes_per_cell", true),
                ("unary_1_p50_ms", false),
                ("replay_per_s", false),
                ("apply_per_s", true),
            ])
        );
    }
}
