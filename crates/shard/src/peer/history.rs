//! The changes before a snapshot, fetched from the peer that sent it.
//!
//! A snapshot holds the ledger and not how it came about. A replica that took one without the changes before it could not serve them,
//! and once every replica has moved nobody could. So a snapshot is taken only after its history.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_storage::{ChangeLog, ChangeLogError, ChangeRecord};
use serde::{Deserialize, Serialize};

use crate::forward::{ForwardReply, ForwardRequest};
use crate::host::Threads;
use crate::{PeerTransport, codec};

/// At most about so many bytes of changes travel in one answer.
const PORTION_BYTES: usize = 1 << 20;

/// How long a peer may take for one portion.
const PORTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Some of a replica's changes, as its change log has them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Portion {
    /// In order, without a gap; empty when there are none, or not from where they were asked for.
    records: Vec<Record>,
    /// The first change of the replica's newest run without a gap.
    pub(crate) first_seq: u64,
    /// Its last change.
    pub(crate) last_seq: u64,
}

impl Portion {
    /// The changes of each log entry, as they are stored.
    pub(crate) fn payloads(self) -> impl Iterator<Item = bytes::Bytes> {
        self.records.into_iter().map(|record| record.payload)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    first_seq: u64,
    last_seq: u64,
    log_index: u64,
    payload: bytes::Bytes,
}

/// Reads changes for a peer that lacks them.
pub(crate) async fn read(changes: &ChangeLog, from_seq: u64, threads: Threads) -> io::Result<Portion> {
    let changes = changes.clone();
    let read = move || {
        let records = match changes.read(from_seq, PORTION_BYTES) {
            Ok(records) => records,
            Err(ChangeLogError::Gap { .. }) => Vec::new(),
            Err(error) => return Err(io::Error::other(error)),
        };
        let records = records.into_iter().map(|record| Record {
            first_seq: record.first_seq,
            last_seq: record.last_seq,
            log_index: record.log_index,
            payload: record.payload,
        });
        Ok(Portion {
            records: records.collect(),
            first_seq: changes.first_seq(),
            last_seq: changes.last_seq(),
        })
    };
    threads.blocking(read).await
}

/// Where a replica's own history is, and from where it is completed.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) shard: u32,
    pub(crate) changes: ChangeLog,
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) threads: Threads,
}

impl History {
    /// Fetches what is missing up to change `through` from another node, durably.
    pub(super) async fn complete(&self, node: u64, through: u64) -> Result<(), String> {
        if self.changes.last_seq() >= through {
            return Ok(());
        }
        tracing::info!(
            shard = self.shard,
            node,
            from_seq = self.changes.last_seq() + 1,
            through,
            "fetching the changes before a snapshot"
        );
        while self.changes.last_seq() < through {
            let next = self.changes.last_seq() + 1;
            let portion = self.ask(node, next).await?;
            let changes = self.changes.clone();
            let (shard, known) = (self.shard, portion.first_seq);
            let append = move || append(&changes, portion, next);
            self.threads
                .blocking(append)
                .await
                .map_err(|error| error.to_string())?;
            if self.changes.last_seq() < next {
                return Err(format!(
                    "node {node} has no change {next} of shard {shard}, its history begins with {known}"
                ));
            }
        }
        let changes = self.changes.clone();
        let sync = move || changes.sync().map_err(io::Error::other);
        self.threads
            .blocking(sync)
            .await
            .map_err(|error| error.to_string())
    }

    async fn ask(&self, node: u64, from_seq: u64) -> Result<Portion, String> {
        let request = ForwardRequest::Changes { from_seq };
        let payload = codec::encode(&request).map_err(|error| error.to_string())?;
        let answer = self
            .transport
            .forward(node, self.shard, payload, PORTION_TIMEOUT)
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        match codec::decode(&answer) {
            Ok(ForwardReply::Changes(portion)) => portion,
            Ok(_) => Err(format!("node {node} answered another question")),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A history that begins later than where ours ends leaves a gap, which is told and not hidden.
fn append(changes: &ChangeLog, portion: Portion, next: u64) -> io::Result<()> {
    if portion.records.is_empty() && portion.first_seq > next {
        tracing::warn!(
            next,
            first_seq = portion.first_seq,
            "the peer's history has a gap too: changes in between are on other replicas, or lost"
        );
        return changes.reset_to(portion.first_seq).map_err(io::Error::other);
    }
    for record in portion.records {
        let record = ChangeRecord {
            first_seq: record.first_seq,
            last_seq: record.last_seq,
            log_index: record.log_index,
            payload: record.payload,
        };
        changes.append(record).map_err(io::Error::other)?;
    }
    Ok(())
}
