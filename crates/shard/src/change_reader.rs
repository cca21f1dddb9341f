//! Reading a shard's changes: from this node's change log, or through another node's replica.

mod remote;

use std::sync::Arc;

use bytes::Bytes;
use holdfast_ledger::Change;
use holdfast_storage::ChangeLog;
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

    /// Reads from whoever of these nodes answers.
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

    /// The oldest change kept there; one more than [`Self::last_seq`] when there is none.
    pub fn first_seq(&self) -> u64 {
        match &self.source {
            Source::Here(changes) => changes.first_seq(),
            Source::There(remote) => remote.first_seq(),
        }
    }

    /// The last change applied there; 0 when there is none.
    pub fn last_seq(&self) -> u64 {
        *self.last_seq.borrow()
    }

    /// The changes from the record on that contains `from_seq`, whole records of about `max_bytes` in all, at least one
    /// record when there is one. Empty at the end. A record has the changes of one entry, or some of them when they are very many: so the
    /// first and the last entry may be there in part. Reads from disk or from another node: call it where blocking is allowed, within a
    /// runtime.
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

fn read_here(changes: &ChangeLog, from_seq: u64, max_bytes: usize) -> Result<Vec<Bytes>, ChangeReadError> {
    if from_seq > changes.last_seq() {
        return Ok(Vec::new());
    }
    let records = changes
        .read(from_seq, max_bytes)
        .map_err(|error| ChangeReadError::Storage(error.to_string()))?;
    Ok(records.into_iter().map(|record| record.payload).collect())
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
    /// What is on disk cannot be read, here or on every node that has the shard.
    #[error("the change log cannot be read: {0}")]
    Storage(String),
    /// This node has no replica of the shard, and none of the nodes that have one answers.
    #[error("no node that has the shard answers: {0}")]
    Unreachable(String),
    /// This replica has stopped.
    #[error("this replica of the shard has stopped")]
    Stopped,
}
