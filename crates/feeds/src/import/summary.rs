//! The result of an import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::book::{Book, Operations, Units};
use super::identity::Source;
use super::known::Known;
use super::plan::Plan;
use crate::reject::Reject;

/// The account of an import. `rows_read = rows_imported + rows_rejected + rows_pending`, and nothing is
/// pending at the end.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// Path of the file.
    pub file: String,
    /// Hash of the file's content.
    pub file_hash: String,
    /// Name of the source.
    pub source: String,
    /// Whether every row was settled.
    pub finished: bool,
    /// Rows of the file.
    pub rows_read: u64,
    /// Rows that are in the ledger in full.
    pub rows_imported: u64,
    /// Rows in the rejects file.
    pub rows_rejected: u64,
    /// Rows that an interrupted import did not reach.
    pub rows_pending: u64,
    /// Number of rejected rows for each reason.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Documents that sell something.
    pub orders: u64,
    /// Documents, sales or not, that another file of the source brought before with the same rows.
    pub documents_brought_before: u64,
    /// Orders with SKUs in more than one shard.
    pub orders_over_several_shards: u64,
    /// Reservations granted: one for each document, or more when it has more lines than a reservation may
    /// have.
    pub reservations: u64,
    /// Reservations refused.
    pub reservations_refused: u64,
    /// Units moved, in this run or an earlier one.
    pub units: Units,
    /// Operations of this run.
    pub operations: Operations,
    /// Path of the file with the rejected rows.
    pub rejects_file: String,
    /// Path of the state file.
    pub state_file: String,
    /// Duration of this run, in milliseconds.
    pub elapsed_ms: u64,
}

/// The parts that a summary is made of.
pub(super) struct Account<'a> {
    pub(super) file: &'a Path,
    pub(super) source: &'a Source,
    pub(super) known: &'a Known,
    pub(super) rows_read: u64,
    pub(super) finished: bool,
    pub(super) plan: &'a Plan,
    pub(super) book: &'a Book,
    pub(super) rejects: &'a [Reject],
    pub(super) rejects_file: &'a Path,
    pub(super) state_file: &'a Path,
    pub(super) elapsed_ms: u64,
}

impl Account<'_> {
    fn orders_over_several_shards(&self) -> u64 {
        let several = self.plan.sales.iter().filter(|sale| sale.shards.len() > 1);
        let documents: BTreeSet<&str> = several.map(|sale| sale.document.as_str()).collect();
        documents.len() as u64
    }

    /// Adds up the summary.
    ///
    /// # Panics
    /// When the rows do not add up: an account that loses rows must not be printed.
    pub(super) fn summary(&self) -> Summary {
        let rows_imported = self.book.imported();
        let rows_rejected = self.rejects.len() as u64;
        let settled = rows_imported + rows_rejected;
        assert!(
            settled <= self.rows_read,
            "{settled} rows were settled, {} were read",
            self.rows_read
        );
        assert!(
            !self.finished || settled == self.rows_read,
            "{settled} of {} rows were settled",
            self.rows_read
        );
        let mut rejected: BTreeMap<&'static str, u64> = BTreeMap::new();
        for reject in self.rejects {
            *rejected.entry(reject.reason.code()).or_default() += 1;
        }
        Summary {
            file: self.file.display().to_string(),
            file_hash: self.source.file().to_owned(),
            source: self.source.name().to_owned(),
            finished: self.finished,
            rows_read: self.rows_read,
            rows_imported,
            rows_rejected,
            rows_pending: self.rows_read - settled,
            rejected,
            orders: self.plan.orders,
            documents_brought_before: self.known.same(),
            orders_over_several_shards: self.orders_over_several_shards(),
            reservations: self.book.reservations,
            reservations_refused: self.book.reservations_refused,
            units: self.book.units,
            operations: self.book.operations,
            rejects_file: self.rejects_file.display().to_string(),
            state_file: self.state_file.display().to_string(),
            elapsed_ms: self.elapsed_ms,
        }
    }
}

impl Summary {
    /// Returns whether this run changed nothing because everything had been imported before.
    pub fn was_imported_before(&self) -> bool {
        self.finished
            && self.operations.applied == 0
            && self.operations.skipped + self.operations.replayed > 0
    }
}
