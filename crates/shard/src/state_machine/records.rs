//! Records of the change log that hold the changes of an entry.
//!
//! Nearly always one record is enough. An entry whose changes do not fit in one has several with the same log
//! index, cut after every [`RECORD_CHANGES`] changes. A crash may leave only the first of them. Then the
//! entry is applied again from the log, its records are compared with the existing ones, and the rest is
//! added. Readers recognise a part of an entry by the place that each change has in it.

use bytes::Bytes;
use holdfast_ledger::Change;
use holdfast_storage::{ChangeLog, ChangeLogError, ChangeRecord};

use crate::codec;
use crate::limits::RECORD_CHANGES;

/// Reason why the changes of an entry were not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    /// No replica can record the changes.
    #[error("{0}")]
    Unrecordable(String),
    /// The disk of this replica failed, or its change log holds other changes.
    #[error(transparent)]
    Failed(ChangeLogError),
}

/// Appends the changes of one entry, however many there are. Writes nothing when there are none.
///
/// # Errors
/// See [`NotWritten`].
pub(super) fn write(log: &ChangeLog, log_index: u64, changes: &[Change]) -> Result<(), NotWritten> {
    if changes.is_empty() {
        return Ok(());
    }
    let whole = encode(changes)?;
    if whole.len() <= log.max_record_bytes() {
        return append(log, log_index, changes, whole);
    }
    drop(whole);
    for piece in changes.chunks(RECORD_CHANGES) {
        append(log, log_index, piece, encode(piece)?)?;
    }
    Ok(())
}

fn encode(changes: &[Change]) -> Result<Bytes, NotWritten> {
    codec::encode(changes).map_err(|error| NotWritten::Unrecordable(error.to_string()))
}

fn append(log: &ChangeLog, log_index: u64, changes: &[Change], payload: Bytes) -> Result<(), NotWritten> {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else {
        return Ok(());
    };
    let record = ChangeRecord {
        first_seq: first.seq,
        last_seq: last.seq,
        log_index,
        payload,
    };
    log.append(record).map_err(|error| match error {
        ChangeLogError::RecordTooLarge { .. } => NotWritten::Unrecordable(error.to_string()),
        error => NotWritten::Failed(error),
    })
}

#[cfg(test)]
mod tests;
