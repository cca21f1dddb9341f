//! Converts OpenMetrics to Prometheus' text format, version 0.0.4, for scrapers and tools that ask for it.

use std::borrow::Cow;
use std::collections::BTreeSet;

/// The content type of the format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Returns whether a caller with this `Accept` header wants the format rather than OpenMetrics.
pub(crate) fn is_wanted(accept: Option<&str>) -> bool {
    accept.is_some_and(|accept| accept.contains("text/plain") && !accept.contains("openmetrics-text"))
}

/// Converts metrics to the format. A counter's family gets the name of its samples; units and the end mark
/// are left out.
pub(crate) fn classic(openmetrics: &str) -> String {
    let of_type = |line: &str| -> Option<(String, String)> {
        let (name, kind) = line.strip_prefix("# TYPE ")?.split_once(' ')?;
        Some((name.to_owned(), kind.to_owned()))
    };
    let counters: BTreeSet<String> = openmetrics
        .lines()
        .filter_map(of_type)
        .filter(|(_, kind)| kind == "counter")
        .map(|(name, _)| name)
        .collect();
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        text.push_str(&described(line, &counters));
        text.push('\n');
    }
    text
}

fn described<'a>(line: &'a str, counters: &BTreeSet<String>) -> Cow<'a, str> {
    for keyword in ["# HELP ", "# TYPE "] {
        let parts = line.strip_prefix(keyword).and_then(|rest| rest.split_once(' '));
        if let Some((name, rest)) = parts {
            let rest = match (keyword, rest) {
                ("# TYPE ", "unknown") => "untyped",
                ("# TYPE ", "info" | "stateset") => "gauge",
                (_, rest) => rest,
            };
            let suffix = if counters.contains(name) { "_total" } else { "" };
            return Cow::Owned(format!("{keyword}{name}{suffix} {rest}"));
        }
    }
    Cow::Borrowed(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_named_as_their_samples_and_what_is_only_in_openmetrics_is_left_out() {
        let openmetrics = "# HELP calls Calls.\n# TYPE calls counter\ncalls_total{a=\"b\"} 3\n# HELP age_seconds Age.\n\
                           # TYPE age_seconds gauge\n# UNIT age_seconds seconds\nage_seconds 0.5\n# EOF\n";
        assert_eq!(
            classic(openmetrics),
            "# HELP calls_total Calls.\n# TYPE calls_total counter\ncalls_total{a=\"b\"} 3\n# HELP age_seconds Age.\n\
             # TYPE age_seconds gauge\nage_seconds 0.5\n"
        );
    }

    #[test]
    fn only_who_asks_for_plain_text_gets_it() {
        assert!(is_wanted(Some("text/plain;version=0.0.4")));
        for other in [
            None,
            Some("*/*"),
            Some("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"),
        ] {
            assert!(!is_wanted(other), "{other:?}");
        }
    }
}
