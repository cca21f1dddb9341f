//! The short report at the end of a demo.

use std::io::Write as _;
use std::path::Path;

use anyhow::Result;
use serde_json::Value;

/// Prints the whole result as one JSON object on standard output.
pub(crate) fn print_json(results: &Value) -> Result<()> {
    writeln!(std::io::stdout(), "{results}")?;
    Ok(())
}

/// Prints the result for people, on standard output.
pub(crate) fn print(results: &Value, folder: &Path) -> Result<()> {
    let mut lines = vec![
        String::new(),
        "Holdfast demo".to_owned(),
        "=============".to_owned(),
    ];
    if let Some(sale) = results.get("sale") {
        lines.extend(sale_lines(sale));
    }
    if let Some(import) = results.get("import") {
        lines.extend(import_lines(import));
    }
    let verify = &results["verify"];
    lines.push(row("oversold units", &verify["oversold_units"]));
    lines.push(row("changes verified", &verify["changes"]));
    let warehouse = &results["warehouse"];
    for (mart, rows) in warehouse["rows"].as_object().into_iter().flatten() {
        lines.push(row(&format!("rows in {mart}"), rows));
    }
    lines.push(row("warehouse tests passed", &warehouse["tests_passed"]));
    lines.extend(view_lines(&results["view"]));
    lines.push(row("seconds in all", &results["elapsed_seconds"]));
    lines.push(String::new());
    lines.push("Where to look next".to_owned());
    let folder = folder.display();
    for (what, place) in [
        ("logs of the nodes", format!("{folder}/nodes")),
        ("archived changes", format!("{folder}/lake")),
        ("the warehouse", format!("{folder}/warehouse.duckdb")),
        ("the view in Redis", "docs/redis.md".to_owned()),
        ("try it yourself", "README.md, \"Five minutes\"".to_owned()),
    ] {
        lines.push(format!("  {what:<28}{place}"));
    }
    writeln!(std::io::stdout(), "{}", lines.join("\n"))?;
    Ok(())
}

fn sale_lines(sale: &Value) -> Vec<String> {
    let latency = &sale["steps"]["reserve"]["latency_us"];
    let milliseconds = |key: &str| format!("{:.2} ms", latency[key].as_f64().unwrap_or_default() / 1000.0);
    let without_leader = sale["shards"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|shard| shard["longest_without_answer_ms"].as_u64())
        .max()
        .unwrap_or_default();
    vec![
        row("buyers at a time", &sale["buyers"]),
        row("reservations granted", &sale["granted"]),
        row("reservations refused", &sale["refused"]),
        row("answers replayed", &sale["replayed"]),
        row("outcomes unknown", &sale["unknown"]),
        row("acknowledged and found again", &sale["acknowledged_found"]),
        row("answers per second", &sale["answers_per_second"]),
        text("reserve latency p50", &milliseconds("p50")),
        text("reserve latency p99", &milliseconds("p99")),
        text("reserve latency p99.9", &milliseconds("p999")),
        text("longest time without a leader", &format!("{without_leader} ms")),
    ]
}

fn view_lines(view: &Value) -> Vec<String> {
    if let Some(advice) = view["left_out"].as_str() {
        return vec![format!("  the view in Redis was left out: {advice}")];
    }
    let page = &view["page"];
    let page = |field: &str| page[field].as_str().unwrap_or_default();
    vec![
        row("cells equal in Redis", &view["cells_equal"]),
        row("lag of Redis in changes", &view["lag_changes"]),
        text("lag of Redis", &format!("{} ms", view["lag_ms"])),
        text(&format!("page of {}", page("sku")), page("units")),
    ]
}

fn import_lines(import: &Value) -> Vec<String> {
    import
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| value.is_number())
        .map(|(name, value)| row(&format!("import: {}", name.replace('_', " ")), value))
        .collect()
}

fn row(name: &str, value: &Value) -> String {
    text(name, &value.as_u64().map_or_else(|| value.to_string(), thousands))
}

fn text(name: &str, value: &str) -> String {
    format!("  {name:<32}{value:>14}")
}

fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
