//! What became of every row, and the sums of the summary.

use std::collections::BTreeMap;

use holdfast_feeds::{Reject, RejectReason, Row};
use serde::{Deserialize, Serialize};

/// Why a row was refused by the ledger: what the state file remembers of it. Nothing personal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refused {
    /// Why.
    pub(super) reason: RejectReason,
    /// What exactly, for a person.
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
pub(super) struct Units {
    /// Received before the first order.
    pub(super) received: i64,
    /// Reserved and committed.
    pub(super) sold: i64,
    /// Cancelled before they shipped.
    pub(super) cancelled: i64,
    /// Come back after they shipped.
    pub(super) returned: i64,
    /// Found.
    pub(super) adjusted_up: i64,
    /// Written off.
    pub(super) adjusted_down: i64,
}

/// Operations of this run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Operations {
    /// Took effect now.
    pub(super) applied: u64,
    /// Sent, and found to have taken effect before.
    pub(super) replayed: u64,
    /// Not sent: the change stream shows that they took effect before.
    pub(super) skipped: u64,
    /// Refused now.
    pub(super) refused: u64,
}

/// The account of an import: every row is pending, imported or rejected.
#[derive(Debug)]
pub(super) struct Book {
    /// By index into the file's rows. Rows that were rejected by the plan stay pending here and are counted by it.
    rows: Vec<RowState>,
    /// Reservations granted.
    pub(super) reservations: u64,
    /// Reservations refused.
    pub(super) reservations_refused: u64,
    /// Units moved.
    pub(super) units: Units,
    /// What this run did.
    pub(super) operations: Operations,
    /// Steps done.
    pub(super) steps_done: u64,
}

impl Book {
    /// A book for this many readable rows.
    pub(super) fn new(rows: usize) -> Self {
        Self {
            rows: vec![RowState::Pending; rows],
            reservations: 0,
            reservations_refused: 0,
            units: Units::default(),
            operations: Operations::default(),
            steps_done: 0,
        }
    }

    /// The row is in the ledger in full.
    pub(super) fn import(&mut self, row: usize) {
        self.rows[row] = RowState::Imported;
    }

    /// The ledger refused the row, or a part of it.
    pub(super) fn refuse(&mut self, row: usize, reason: RejectReason, detail: impl Into<String>) {
        self.rows[row] = RowState::Refused(Refused {
            reason,
            detail: detail.into(),
        });
    }

    /// The rows that are in the ledger in full.
    pub(super) fn imported(&self) -> u64 {
        self.rows.iter().filter(|row| **row == RowState::Imported).count() as u64
    }

    /// Why this row was refused, if it was.
    pub(super) fn refusal_of(&self, row: usize) -> Option<&Refused> {
        match &self.rows[row] {
            RowState::Refused(refused) => Some(refused),
            RowState::Pending | RowState::Imported => None,
        }
    }

    /// The refused rows by row number, for the state file.
    pub(super) fn refusals(&self, rows: &[Row]) -> BTreeMap<u64, Refused> {
        let numbered = rows.iter().enumerate();
        numbered
            .filter_map(|(index, row)| Some((row.number, self.refusal_of(index)?.clone())))
            .collect()
    }

    /// All rejects in file order: those of the plan and those of the ledger.
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
