//! Reading a shard's changes from this replica's change log.

use holdfast_ledger::Change;
use holdfast_storage::ChangeLog;
use tokio::sync::watch;

use crate::codec;

/// A shard's changes as far as this replica has applied them. Cheap to clone.
#[derive(Clone)]
pub struct ChangeReader {
    changes: ChangeLog,
    last_seq: watch::Receiver<u64>,
}

impl ChangeReader {
    pub(crate) fn new(changes: ChangeLog, last_seq: watch::Receiver<u64>) -> Self {
        Self { changes, last_seq }
    }

    /// The oldest change kept here; one more than [`Self::last_seq`] when there is none.
    pub fn first_seq(&self) -> u64 {
        self.changes.first_seq()
    }

    /// The last change applied here; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    /// The changes from the entry on that contains `from_seq`, whole entries of about `max_bytes` in all, at least one
    /// entry when there is one. Empty at the end. Reads from disk: call it where blocking is allowed.
    ///
    /// # Errors
    /// See [`ChangeReadError`].
    pub fn read(&self, from_seq: u64, max_bytes: usize) -> Result<Vec<Change>, ChangeReadError> {
        let from_seq = from_seq.max(1);
        let first_seq = self.first_seq();
        if from_seq < first_seq {
            return Err(ChangeReadError::NotHere { first_seq });
        }
        if from_seq > self.changes.last_seq() {
            return Ok(Vec::new());
        }
        let storage = |what: String| ChangeReadError::Storage(what);
        let records = self
            .changes
            .read(from_seq, max_bytes)
            .map_err(|error| storage(error.to_string()))?;
        let mut changes = Vec::new();
        for record in records {
            let entry: Vec<Change> =
                codec::decode(&record.payload).map_err(|error| storage(error.to_string()))?;
            changes.extend(entry);
        }
        Ok(changes)
    }

    /// Waits until there is a change after `seq` and returns the last one.
    ///
    /// # Errors
    /// [`ChangeReadError::Stopped`] when the replica ends.
    pub async fn wait_past(&self, seq: u64) -> Result<u64, ChangeReadError> {
        let mut last_seq = self.last_seq.clone();
        let reached = last_seq
            .wait_for(|last| *last > seq)
            .await
            .map_err(|_| ChangeReadError::Stopped)?;
        Ok(*reached)
    }
}

/// Why changes cannot be read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeReadError {
    /// This replica was caught up by a snapshot and lacks older changes; another replica may have them.
    #[error("changes before {first_seq} are not on this node")]
    NotHere {
        /// The oldest change here.
        first_seq: u64,
    },
    /// What is on disk cannot be read.
    #[error("the change log cannot be read: {0}")]
    Storage(String),
    /// This replica has stopped.
    #[error("this replica of the shard has stopped")]
    Stopped,
}
