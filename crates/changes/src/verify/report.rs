//! What verification says.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::finding::{Check, Finding};
use super::orders::OrdersReport;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Nothing was found.
    pub ok: bool,
    /// By shard, in the order replayed.
    pub shards: Vec<ShardReport>,
    /// Changes replayed.
    pub changes: u64,
    /// Reservations granted in them.
    pub reservations: u64,
    /// The orders over several shards among them, and those that came to nothing.
    pub orders: OrdersReport,
    /// Units that were ever promised beyond what there was.
    pub oversold_units: u64,
    /// Changes that are missing.
    pub lost_changes: u64,
    /// By check, how often it found something.
    pub counts: BTreeMap<Check, u64>,
    /// The first ones of each check, in order of shard and change.
    pub findings: Vec<Finding>,
}

/// One shard's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    /// Which.
    pub shard: u32,
    /// The last change replayed.
    pub last_seq: u64,
    /// How many.
    pub changes: u64,
    /// How many entries they were.
    pub entries: u64,
    /// Log time at the end.
    pub log_time_ms: u64,
    /// Cells.
    pub cells: u64,
    /// Reservations granted; an order over several shards counts at its home.
    pub reservations: u64,
    /// Reservations still open, and parts of orders.
    pub open_reservations: u64,
    /// Live cells that were compared, at `last_seq`; absent when nothing was compared.
    pub compared_cells: Option<u64>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shard in &self.shards {
            let ShardReport {
                shard,
                last_seq,
                entries,
                cells,
                reservations,
                open_reservations,
                ..
            } = shard;
            write!(
                f,
                "shard {shard}: {last_seq} changes in {entries} entries, {cells} cells, "
            )?;
            write!(f, "{reservations} reservations ({open_reservations} open)")?;
            match shard_compared(self, *shard) {
                Some(compared) => writeln!(f, ", {compared} live cells compared")?,
                None => writeln!(f)?,
            }
        }
        let Self {
            changes,
            reservations,
            orders,
            oversold_units,
            lost_changes,
            ..
        } = self;
        let OrdersReport {
            orders,
            parts,
            prepared,
            not_judged,
        } = orders;
        writeln!(f, "changes: {changes}, missing: {lost_changes}")?;
        writeln!(f, "reservations: {reservations}")?;
        writeln!(
            f,
            "orders over several shards: {orders} in {parts} parts, {prepared} left prepared"
        )?;
        if *not_judged > 0 {
            writeln!(
                f,
                "not judged: {not_judged} orders that were under way when a stream ended; verify the running cluster, or a later archive"
            )?;
        }
        writeln!(f, "oversold units: {oversold_units}")?;
        if self.ok {
            return write!(f, "ok: nothing oversold, lost, doubled, torn or out of sequence");
        }
        for finding in &self.findings {
            let Finding {
                check,
                shard,
                seq,
                message,
            } = finding;
            match seq {
                0 => writeln!(f, "{}: shard {shard}: {message}", check.name())?,
                _ => writeln!(f, "{}: shard {shard}, change {seq}: {message}", check.name())?,
            }
        }
        let total: u64 = self.counts.values().sum();
        let more = total - self.findings.len() as u64;
        if more > 0 {
            writeln!(f, "and {more} more of the same checks")?;
        }
        let counts = self
            .counts
            .iter()
            .map(|(check, count)| format!("{} {count}", check.name()));
        write!(
            f,
            "NOT ok: {total} findings: {}",
            counts.collect::<Vec<_>>().join(", ")
        )
    }
}

fn shard_compared(report: &Report, shard: u32) -> Option<u64> {
    report
        .shards
        .iter()
        .find(|one| one.shard == shard)?
        .compared_cells
}
