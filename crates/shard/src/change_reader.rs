//! Reader of a shard's changes: from this node's change log, or through another node's replica.

mod remote;

use std::sync::Arc;

use bytes::Bytes;
use holdfast_ledger::Change;
use holdfast_storage::{ChangeLog, ChangeLogError};
use tokio::sync::watch;

use self::remote::Remote;
use crate::{PeerTransport, codec};

/// A shard's changes as far as a replica has applied them. Cheap to clone.
#[derive(Clone)]
pub struct ChangeReader {
    source: Source,
    last_seq: watch::Receiver<u64>,
}

#[derive(Clone)]
enum Source {
    Here(ChangeLog),
    There(Arc<Remote>),
}

impl ChangeReader {
    pub(crate) fn here(changes: ChangeLog, last_seq: watch::Receiver<u64>) -> Self {
        Self {
            source: Source::Here(changes),
            last_seq,
        }
    }

    /// Makes a reader that asks these nodes in turn, until one answers.
    pub(crate) async fn there(
        shard: u32,
        transport: Arc<dyn PeerTransport>,
        nodes: Vec<u64>,
    ) -> Result<Self, ChangeReadError> {
        let (remote, last_seq) = Remote::connect(shard, transport, nodes).await?;
        Ok(Self {
            source: Source::There(Arc::new(remote)),
            last_seq,
        })
    }

    /// Returns the number of the oldest change kept there, or one more than [`Self::last_seq`] when no change
    /// is kept.
    pub fn first_seq(&self) -> u64 {
        match &self.source {
            Source::Here(changes) => changes.first_seq(),
            Source::There(remote) => remote.first_seq(),
        }
    }

    /// Returns the number of the last change applied there, or 0 before the first.
    pub fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    /// Returns changes, beginning with the record that contains `from_seq`. Returns whole records of about
    /// `max_bytes` in all, and at least one record if one exists. Returns nothing at the end.
    ///
    /// A record has the changes of one entry, or some of them when the entry has very many. So the result may
    /// have only a part of the first and of the last entry.
    ///
    /// Reads from disk or from another node: call it within a runtime, where blocking is allowed.
    ///
    /// # Errors
    /// See [`ChangeReadError`].
    pub fn read(&self, from_seq: u64, max_bytes: usize) -> Result<Vec<Change>, ChangeReadError> {
        let from_seq = from_seq.max(1);
        let first_seq = self.first_seq();
        if from_seq < first_seq {
            return Err(ChangeReadError::NotHere { first_seq });
        }
        let payloads = match &self.source {
            Source::Here(changes) => read_here(changes, from_seq, max_bytes)?,
            Source::There(remote) => remote.read(from_seq)?,
        };
        let mut changes = Vec::new();
        for payload in payloads {
            let entry: Vec<Change> =
                codec::decode(&payload).map_err(|error| ChangeReadError::Storage(error.to_string()))?;
            changes.extend(entry);
        }
        Ok(changes)
    }

    /// Waits until a change after `seq` exists, and returns the number of the last change.
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

fn read_here(changes: &ChangeLog, from_seq: u64, max_bytes: usize) -> Result<Vec<Bytes>, ChangeReadError> {
    if from_seq > changes.last_seq() {
        return Ok(Vec::new());
    }
    let records = changes.read(from_seq, max_bytes).map_err(|error| match error {
        ChangeLogError::Dropped { begins_at } => ChangeReadError::NotHere { first_seq: begins_at },
        error => ChangeReadError::Storage(error.to_string()),
    })?;
    Ok(records.into_iter().map(|record| record.payload).collect())
}

/// Reason why changes cannot be read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChangeReadError {
    /// A snapshot brought this replica up to date, so it lacks older changes, or it has dropped them. Another
    /// replica may have them.
    #[error("changes before {first_seq} are not on this node")]
    NotHere {
        /// The oldest change that is kept here.
        first_seq: u64,
    },
    /// The files cannot be read, here or on every node that has the shard.
    #[error("the change log cannot be read: {0}")]
    Storage(String),
    /// This node has no replica of the shard, and no node that has one answers.
    #[error("no node that has the shard answers: {0}")]
    Unreachable(String),
    /// This replica has stopped.
    #[error("this replica of the shard has stopped")]
    Stopped,
}
