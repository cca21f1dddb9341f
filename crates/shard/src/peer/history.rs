//! Change history before a snapshot, fetched from the peer that sent the snapshot.
//!
//! A snapshot holds the ledger, but not the changes that led to it. A replica that took a snapshot without
//! those changes could not serve them. Once every replica has moved, nobody could. So a snapshot is taken
//! only after its history. What the peer has dropped is in the archive, and is dropped here too.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_storage::{ChangeLog, ChangeLogError, ChangeRecord, FileError};
use serde::{Deserialize, Serialize};

use crate::forward::{ForwardReply, ForwardRequest};
use crate::health::Health;
use crate::host::Threads;
use crate::limits::PORTION_BYTES;
use crate::{PeerTransport, codec};

/// Longest wait for one portion from a peer.
const PORTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Some of a replica's changes, in the form of its change log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Portion {
    /// The records in order, without a gap. Empty when there are none from the asked number on.
    records: Vec<Record>,
    /// The first change of the replica's newest run without a gap.
    pub(crate) first_seq: u64,
    /// The replica's last change.
    pub(crate) last_seq: u64,
}

impl Portion {
    /// Returns the changes of each log entry, in their stored form.
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

impl From<Record> for ChangeRecord {
    fn from(record: Record) -> Self {
        Self {
            first_seq: record.first_seq,
            last_seq: record.last_seq,
            log_index: record.log_index,
            payload: record.payload,
        }
    }
}

/// Reads changes for a peer that lacks them.
pub(crate) async fn read(changes: &ChangeLog, from_seq: u64, threads: Threads) -> io::Result<Portion> {
    let changes = changes.clone();
    let read = move || {
        let records = match changes.read(from_seq, PORTION_BYTES) {
            Ok(records) => records,
            // The changes are damaged, missing or dropped here, but another replica may have them.
            Err(
                ChangeLogError::Gap { .. }
                | ChangeLogError::Dropped { .. }
                | ChangeLogError::File(FileError::Corrupt { .. }),
            ) => Vec::new(),
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

/// A replica's own change history, and the transport by which it is completed.
#[derive(Clone)]
pub(crate) struct History {
    pub(crate) shard: u32,
    pub(crate) changes: ChangeLog,
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) threads: Threads,
    pub(crate) health: Health,
}

impl History {
    /// Fetches all changes up to `through` that are missing here from another node, and syncs them.
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
            let (shard, known) = (self.shard, portion.first_seq);
            if portion.records.is_empty()
                && let Some(begins_at) = self.begin_of(node).await.filter(|begins_at| *begins_at > next)
            {
                tracing::info!(
                    shard,
                    node,
                    begins_at,
                    "the history before this change is in the archive only"
                );
                self.write(move |changes| {
                    changes.reset_to(begins_at)?;
                    changes.drop_before(begins_at).map(drop)
                })
                .await?;
                continue;
            }
            self.write(move |changes| append(changes, portion, next)).await?;
            if self.changes.last_seq() < next {
                return Err(format!(
                    "node {node} has no change {next} of shard {shard}, its history begins with {known}"
                ));
            }
        }
        self.write(ChangeLog::sync).await
    }

    /// Fetches the changes of a gap from another node, up to that node's first gap. Returns the number of
    /// changes that came.
    pub(super) async fn fill_from(&self, node: u64, gap: std::ops::Range<u64>) -> Result<u64, String> {
        let mut next = gap.start;
        while next < gap.end {
            let portion = self.ask(node, next).await?;
            let records: Vec<ChangeRecord> = portion.records.into_iter().map(ChangeRecord::from).collect();
            let Some(first) = records.first().filter(|first| first.first_seq == next) else {
                break;
            };
            let from = first.first_seq;
            self.write(move |changes| changes.fill(&records)).await?;
            let now = self.changes.gaps();
            let rest = now.iter().find(|rest| rest.end == gap.end);
            next = rest.map_or(gap.end, |rest| rest.start);
            if next <= from {
                break;
            }
        }
        Ok(next - gap.start)
    }

    /// Gives up the part of a gap that a node has dropped, because it is in the archive. The rest of the history
    /// before it goes too. Returns whether anything was given up.
    pub(super) async fn give_up_before(&self, begins_at: u64) -> Result<bool, String> {
        let before = self.changes.begins_at();
        self.write(move |changes| changes.drop_before(begins_at).map(drop))
            .await?;
        Ok(self.changes.begins_at() > before)
    }

    /// Returns the first change that a node has not dropped. None when it does not say, as an older version.
    pub(super) async fn begin_of(&self, node: u64) -> Option<u64> {
        match self.question(node, &ForwardRequest::HistoryBegin).await {
            Ok(ForwardReply::HistoryBegin(begins_at)) => Some(begins_at),
            _ => None,
        }
    }

    /// Writes to the change log. A change log that cannot be written takes nothing any more, so the replica
    /// dies. So does one whose changes diverge from the peer's.
    async fn write(
        &self,
        work: impl FnOnce(&ChangeLog) -> Result<(), ChangeLogError> + Send + 'static,
    ) -> Result<(), String> {
        let changes = self.changes.clone();
        let written = self.threads.blocking(move || Ok(work(&changes))).await;
        let written = written.map_err(|error| error.to_string())?;
        written.map_err(|error| {
            if matches!(
                error,
                ChangeLogError::File(FileError::Io { .. }) | ChangeLogError::Diverged { .. }
            ) {
                self.health
                    .fail(format!("writing the changes of a peer: {error}"));
            }
            error.to_string()
        })
    }

    async fn ask(&self, node: u64, from_seq: u64) -> Result<Portion, String> {
        match self.question(node, &ForwardRequest::Changes { from_seq }).await? {
            ForwardReply::Changes(portion) => portion,
            _ => Err(format!("node {node} sent an answer to another question")),
        }
    }

    async fn question(&self, node: u64, request: &ForwardRequest) -> Result<ForwardReply, String> {
        let payload = codec::encode(request).map_err(|error| error.to_string())?;
        let answer = self
            .transport
            .forward(node, self.shard, payload, PORTION_TIMEOUT)
            .await;
        let answer = answer.map_err(|error| error.to_string())?;
        codec::decode(&answer).map_err(|error| error.to_string())
    }
}

/// Appends a portion. A history that begins after the end of ours leaves a gap, which is logged and not
/// hidden.
fn append(changes: &ChangeLog, portion: Portion, next: u64) -> Result<(), ChangeLogError> {
    if portion.records.is_empty() && portion.first_seq > next {
        tracing::warn!(
            next,
            first_seq = portion.first_seq,
            "the peer's history has a gap too: changes in between are on other replicas, or lost"
        );
        return changes.reset_to(portion.first_seq);
    }
    for record in portion.records {
        changes.append(record.into())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use futures::stream::BoxStream;
    use holdfast_storage::{ChangeLogOptions, FaultDisk};

    use super::*;
    use crate::TransportError;

    /// A peer that answers every request for changes with changes numbered from here, one in each log entry.
    struct Peer {
        first_seq: u64,
    }

    fn unknown() -> TransportError {
        TransportError::Unknown("nobody asks this".to_owned())
    }

    impl PeerTransport for Peer {
        fn raft(&self, _: u64, _: u32, _: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
            std::future::ready(Err(unknown())).boxed()
        }

        fn snapshot(
            &self,
            _: u64,
            _: u32,
            _: Bytes,
            _: BoxStream<'static, Result<Bytes, io::Error>>,
        ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
            std::future::ready(Err(unknown())).boxed()
        }

        fn forward(
            &self,
            _: u64,
            _: u32,
            _: Bytes,
            _: Duration,
        ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
            let records = (self.first_seq..self.first_seq + 3).map(|seq| Record {
                first_seq: seq,
                last_seq: seq,
                log_index: seq,
                payload: Bytes::from_static(b"a change"),
            });
            let portion = Portion {
                records: records.collect(),
                first_seq: 1,
                last_seq: 3,
            };
            let answer = codec::encode(&ForwardReply::Changes(Ok(portion)));
            std::future::ready(answer.map_err(|_| unknown())).boxed()
        }
    }

    fn history(disk: &FaultDisk, first_seq: u64) -> History {
        let options = ChangeLogOptions::default();
        let (changes, _) = ChangeLog::open(Arc::new(disk.clone()), 1, options).unwrap();
        History {
            shard: 1,
            changes,
            transport: Arc::new(Peer { first_seq }),
            threads: Threads::Own,
            health: Health::new(1),
        }
    }

    #[tokio::test]
    async fn a_disk_that_fails_while_changes_are_fetched_ends_the_replica() {
        let all_is_well = history(&FaultDisk::new(1), 1);
        all_is_well.complete(2, 3).await.unwrap();
        assert!(!all_is_well.health.is_dead());
        assert_eq!(all_is_well.changes.last_seq(), 3);

        for fail in [FaultDisk::fail_write_after, FaultDisk::fail_sync_after] {
            let disk = FaultDisk::new(1);
            let history = history(&disk, 1);
            fail(&disk, 0);
            history.complete(2, 3).await.unwrap_err();
            // The change log takes nothing more: only the node's next start helps.
            assert!(history.health.is_dead());
        }
    }

    #[tokio::test]
    async fn an_answer_to_another_question_ends_nothing() {
        let history = history(&FaultDisk::new(1), 2);
        history.complete(2, 3).await.unwrap_err();
        assert!(!history.health.is_dead());
        assert_eq!(history.changes.last_seq(), 0);
    }
}
