//! The state of every row, and the sums for the summary.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::read::Row;
use crate::reject::{Reject, RejectReason};

/// The ledger's refusal of a row, as the state file remembers it. It contains nothing personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    /// The kind of the refusal.
    pub(super) reason: RejectReason,
    /// The details, for a person.
    pub(super) detail: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum RowState {
    Pending,
    Imported,
    Refused(Refused),
}

/// Units that rows of the file moved, in this run or an earlier one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Units {
    /// Units received before the first order.
    pub received: i64,
    /// Units reserved and committed.
    pub sold: i64,
    /// Units cancelled before they shipped.
    pub cancelled: i64,
    /// Units that came back after they shipped.
    pub returned: i64,
    /// Units that were found.
    pub adjusted_up: i64,
    /// Units that were written off.
    pub adjusted_down: i64,
}

/// Counts of this run's operations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Operations {
    /// Operations that took effect in this run.
    pub applied: u64,
    /// Operations that were sent, and had taken effect before.
    pub replayed: u64,
    /// Operations that were not sent, because the change stream shows that they took effect before.
    pub skipped: u64,
    /// Operations that were refused in this run.
    pub refused: u64,
}

/// The account of an import: every row is pending, imported or rejected.
#[derive(Debug)]
pub(super) struct Book {
    /// State by index into the file's rows. Rows that the plan rejected stay pending here; the plan counts
    /// them.
    rows: Vec<RowState>,
    /// Number of reservations granted.
    pub(super) reservations: u64,
    /// Number of reservations refused.
    pub(super) reservations_refused: u64,
    /// Units that were moved.
    pub(super) units: Units,
    /// Operations of this run.
    pub(super) operations: Operations,
}

impl Book {
    /// Makes a book for this many readable rows.
    pub(super) fn new(rows: usize) -> Self {
        Self {
            rows: vec![RowState::Pending; rows],
            reservations: 0,
            reservations_refused: 0,
            units: Units::default(),
            operations: Operations::default(),
        }
    }

    /// Notes that the row is in the ledger in full.
    pub(super) fn import(&mut self, row: usize) {
        self.rows[row] = RowState::Imported;
    }

    /// Notes that the ledger refused the row, or a part of it.
    pub(super) fn refuse(&mut self, row: usize, reason: RejectReason, detail: impl Into<String>) {
        self.rows[row] = RowState::Refused(Refused {
            reason,
            detail: detail.into(),
        });
    }

    /// Returns how many rows are in the ledger in full.
    pub(super) fn imported(&self) -> u64 {
        self.rows.iter().filter(|row| **row == RowState::Imported).count() as u64
    }

    /// Returns why this row was refused, if it was.
    pub(super) fn refusal_of(&self, row: usize) -> Option<&Refused> {
        match &self.rows[row] {
            RowState::Refused(refused) => Some(refused),
            RowState::Pending | RowState::Imported => None,
        }
    }

    /// Returns the refused rows by row number, for the state file.
    pub(super) fn refusals(&self, rows: &[Row]) -> BTreeMap<u64, Refused> {
        let numbered = rows.iter().enumerate();
        numbered
            .filter_map(|(index, row)| Some((row.number, self.refusal_of(index)?.clone())))
            .collect()
    }

    /// Returns all rejects in file order: those of the plan and those of the ledger.
    pub(super) fn rejects(&self, rows: &[Row], planned: &[Reject]) -> Vec<Reject> {
        let refused = rows.iter().enumerate().filter_map(|(index, row)| {
            let refused = self.refusal_of(index)?;
            Some(row.reject(refused.reason, refused.detail.clone()))
        });
        let mut rejects: Vec<Reject> = planned.iter().cloned().chain(refused).collect();
        rejects.sort_by_key(|reject| reject.row);
        rejects
    }
}
