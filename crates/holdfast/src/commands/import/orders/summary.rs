//! The summary of an import, for people.

use holdfast_feeds::import::{Operations, Summary, Units};

/// Returns the summary as lines for people.
pub(super) fn lines(summary: &Summary) -> Vec<String> {
    let Units {
        received,
        sold,
        cancelled,
        returned,
        adjusted_up,
        adjusted_down,
    } = summary.units;
    let Operations {
        applied,
        replayed,
        skipped,
        refused,
    } = summary.operations;
    let mut lines = vec![format!(
        "rows          {} read: {} imported, {} rejected",
        summary.rows_read, summary.rows_imported, summary.rows_rejected
    )];
    if summary.rows_pending > 0 {
        lines[0].push_str(&format!(", {} not done yet", summary.rows_pending));
    }
    for (reason, rows) in &summary.rejected {
        lines.push(format!("  {rows:>10}  {reason}"));
    }
    lines.push(format!(
        "orders        {}, {} of them over several shards: {} reservations granted, {} refused",
        summary.orders,
        summary.orders_over_several_shards,
        summary.reservations,
        summary.reservations_refused
    ));
    if summary.documents_brought_before > 0 {
        lines.push(format!(
            "              {} documents were brought by other files of {} before, and not done again",
            summary.documents_brought_before, summary.source
        ));
    }
    lines.push(format!(
        "units         {sold} sold, {cancelled} cancelled, {returned} returned, {adjusted_up} found, \
         {adjusted_down} written off, {received} initial stock"
    ));
    lines.push(format!(
        "operations    {applied} applied, {replayed} replayed, {skipped} skipped (applied by an earlier run), {refused} refused"
    ));
    lines.push(format!("rejected rows {}", summary.rejects_file));
    lines.push(format!("state         {}", summary.state_file));
    lines.push(format!(
        "elapsed       {}.{:01} s",
        summary.elapsed_ms / 1000,
        summary.elapsed_ms % 1000 / 100
    ));
    if summary.was_imported_before() {
        lines.push("nothing changed: all of it had been imported before".to_owned());
    }
    lines
}
