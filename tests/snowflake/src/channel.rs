//! One channel: its sequencers, the rows on their way, and its status.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::rates::Rates;
use crate::table::{ErrorRow, Row, RowFault, Table};

/// The rows of one append.
#[derive(Debug)]
pub(crate) struct Rowset {
    pub(crate) lines: Vec<String>,
    pub(crate) end: Option<String>,
    /// How many looks at the channel pass before it is committed.
    pub(crate) looks_left: u32,
    pub(crate) fate: Fate,
}

/// The end of an accepted append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    Discarded,
    /// The first row vanishes, and the others are committed.
    LosesRow,
}

/// A named channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) name: String,
    pub(crate) client_sequencer: u64,
    pub(crate) row_sequencer: u64,
    pub(crate) status_code: String,
    pub(crate) rates: Rates,
    pub(crate) in_flight: u32,
    pub(crate) last_end: String,
    committed: Option<String>,
    waiting: VecDeque<Rowset>,
    /// Rows were discarded on the way, so nothing after them can be committed.
    has_gap: bool,
    inserted: u64,
    parsed: u64,
    errors: u64,
    last_error: Option<(String, Option<String>)>,
}

impl Channel {
    pub(crate) fn new(name: &str, offset_token: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            client_sequencer: 0,
            row_sequencer: 0,
            status_code: "SUCCESS".to_owned(),
            rates: Rates::default(),
            in_flight: 0,
            last_end: offset_token.clone().unwrap_or_default(),
            committed: offset_token,
            waiting: VecDeque::new(),
            has_gap: false,
            inserted: 0,
            parsed: 0,
            errors: 0,
            last_error: None,
        }
    }

    /// Returns the token that the next append must have.
    pub(crate) fn continuation(&self) -> String {
        format!("{}/{}+{}", self.name, self.client_sequencer, self.row_sequencer)
    }

    pub(crate) fn has_uncommitted(&self) -> bool {
        !self.has_gap && self.waiting.iter().any(|rowset| rowset.fate != Fate::Discarded)
    }

    /// Opens the channel for a new client. Returns how many rows on their way it has discarded.
    pub(crate) fn open(&mut self, offset_token: Option<String>) -> usize {
        let discarded = self
            .waiting
            .iter()
            .filter(|rowset| rowset.fate != Fate::Discarded);
        let discarded = discarded.map(|rowset| rowset.lines.len()).sum();
        self.waiting.clear();
        self.has_gap = false;
        self.client_sequencer += 1;
        self.row_sequencer = 0;
        "SUCCESS".clone_into(&mut self.status_code);
        if offset_token.is_some() {
            self.committed = offset_token;
        }
        self.last_end = self.committed.clone().unwrap_or_default();
        discarded
    }

    pub(crate) fn accept(&mut self, rowset: Rowset) {
        self.row_sequencer += 1;
        if let Some(end) = &rowset.end {
            self.last_end.clone_from(end);
        }
        self.waiting.push_back(rowset);
    }

    /// Lets time pass: commits what is due.
    pub(crate) fn look(&mut self, table: &Table, rows: &mut Vec<Row>, error_rows: &mut Vec<ErrorRow>) {
        while let Some(front) = self.waiting.front() {
            if self.has_gap {
                "ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP".clone_into(&mut self.status_code);
                break;
            }
            if front.looks_left > 0 {
                break;
            }
            let Some(rowset) = self.waiting.pop_front() else {
                break;
            };
            if rowset.fate == Fate::Discarded {
                self.has_gap = true;
                continue;
            }
            self.commit(&rowset, table, rows, error_rows);
        }
        if let Some(front) = self.waiting.front_mut() {
            front.looks_left = front.looks_left.saturating_sub(1);
        }
    }

    fn commit(
        &mut self,
        rowset: &Rowset,
        table: &Table,
        rows: &mut Vec<Row>,
        error_rows: &mut Vec<ErrorRow>,
    ) {
        let skipped = usize::from(rowset.fate == Fate::LosesRow);
        for line in rowset.lines.iter().skip(skipped) {
            self.parsed += 1;
            match table.check(line) {
                Ok(values) => {
                    self.inserted += 1;
                    rows.push(Row {
                        channel: self.name.clone(),
                        values,
                    });
                }
                Err(RowFault::Value(message)) => {
                    self.errors += 1;
                    self.last_error = Some((message.clone(), rowset.end.clone()));
                    error_rows.push(ErrorRow {
                        channel: self.name.clone(),
                        message,
                        offset_token_upper_bound: rowset.end.clone(),
                        payload: line.clone(),
                    });
                }
                Err(RowFault::Schema(message)) => {
                    self.last_error = Some((message, rowset.end.clone()));
                    "ERR_CHANNEL_MUST_BE_REOPENED".clone_into(&mut self.status_code);
                    self.has_gap = true;
                    return;
                }
            }
        }
        if rowset.end.is_some() {
            self.committed.clone_from(&rowset.end);
        }
    }

    /// Returns the status. The answers to opening and to the question in bulk name the count of errors
    /// differently.
    pub(crate) fn status(&self, errors_name: &str) -> Value {
        let (message, bound) = self.last_error.clone().unzip();
        json!({
            "channel_name": self.name,
            "channel_status_code": self.status_code,
            "last_committed_offset_token": self.committed,
            "created_on_ms": 1_700_000_000_000_u64,
            "rows_inserted": self.inserted,
            "rows_parsed": self.parsed,
            errors_name: self.errors,
            "last_error_offset_upper_bound": bound.flatten(),
            "last_error_message": message,
            "last_error_timestamp": null,
            "snowflake_avg_processing_latency_ms": 5,
        })
    }
}
