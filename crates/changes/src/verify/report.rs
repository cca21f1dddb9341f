//! The results of verification.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::finding::{Check, Finding};
use super::orders::OrdersReport;

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// True when there are no findings.
    pub ok: bool,
    /// One report for each shard, in the order replayed.
    pub shards: Vec<ShardReport>,
    /// The number of changes replayed.
    pub changes: u64,
    /// The number of reservations granted in them.
    pub reservations: u64,
    /// The orders over several shards among them, and those that failed.
    pub orders: OrdersReport,
    /// The units that were ever promised beyond the stock.
    pub oversold_units: u64,
    /// The number of missing changes.
    pub lost_changes: u64,
    /// The number of findings of each check.
    pub counts: BTreeMap<Check, u64>,
    /// The first findings of each check, in order of shard and change.
    pub findings: Vec<Finding>,
}

/// The report on one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardReport {
    /// The number of the shard.
    pub shard: u32,
    /// The last change replayed.
    pub last_seq: u64,
    /// The number of changes replayed.
    pub changes: u64,
    /// The number of entries with these changes.
    pub entries: u64,
    /// The log time at the end.
    pub log_time_ms: u64,
    /// The number of cells.
    pub cells: u64,
    /// The number of reservations granted. An order over several shards counts at its home.
    pub reservations: u64,
    /// The number of reservations, and parts of orders, that are still open.
    pub open_reservations: u64,
    /// The number of live cells that were compared at `last_seq`; absent when none were compared.
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
