//! Snapshots of a shard: built from the ledger, kept on disk, sent to peers and received from them.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_ledger::{Ledger, Violation};
use holdfast_storage::{ChangeLog, FileError, SnapshotError, SnapshotReader, SnapshotStore};
use openraft::RaftSnapshotBuilder;
use tokio::sync::watch;

use super::{SharedState, apply::check};
use crate::codec;
use crate::errors::is_damage;
use crate::halt::{Halt, HaltCause};
use crate::health::Health;
use crate::host::Threads;
use crate::log_store::LogStore;
use crate::metrics::{Counters, add};
use crate::raft_types::{SnapshotMeta, Types};

pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotData>;

/// Content of a snapshot.
pub(crate) enum SnapshotData {
    /// The snapshot is on this node's disk.
    Stored(SnapshotReader),
    /// The snapshot was just received. It is checked, but not on disk yet.
    Received {
        /// The ledger that its bytes encode.
        ledger: Box<Ledger>,
        /// The bytes of the snapshot.
        bytes: Bytes,
    },
    /// The snapshot was just received and is a whole [`Register`](crate::Register).
    Register(Bytes),
}

impl SnapshotData {
    /// Returns the last change of the ledger in the snapshot, if it was just received and holds a ledger.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        match self {
            Self::Received { ledger, .. } => Some(ledger.last_seq()),
            Self::Stored(_) | Self::Register(_) => None,
        }
    }

    /// Decodes a snapshot that a peer sent, and checks every invariant.
    pub(crate) fn received(bytes: Bytes) -> io::Result<Self> {
        let ledger = decode_ledger(&bytes)?;
        Ok(Self::Received {
            ledger: Box::new(ledger),
            bytes,
        })
    }
}

pub(super) fn decode_ledger(bytes: &[u8]) -> io::Result<Ledger> {
    Ledger::decode(bytes).map_err(|what| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is not the snapshot of a ledger: {what}"),
        )
    })
}

pub(crate) fn read_meta(bytes: &[u8]) -> io::Result<SnapshotMeta> {
    Ok(codec::decode(bytes)?)
}

pub(crate) fn open_latest(snapshots: &SnapshotStore) -> io::Result<Option<Snapshot>> {
    let Some(reader) = snapshots.open_latest().map_err(io::Error::other)? else {
        return Ok(None);
    };
    let meta = read_meta(&reader.file().meta)?;
    Ok(Some(Snapshot {
        meta,
        snapshot: SnapshotData::Stored(reader),
    }))
}

/// Reads the newest snapshot, or the one before it when the newest is damaged and the log still has the
/// entries after the older one. The damaged one is then removed.
///
/// # Errors
/// The damage, when nothing here replaces the lost data.
pub(crate) fn read_newest<T>(
    snapshots: &SnapshotStore,
    log: &LogStore,
    decode: impl Fn(&[u8]) -> io::Result<T>,
) -> io::Result<Option<(SnapshotMeta, T)>> {
    let damage = match read(snapshots.open_latest(), &decode) {
        Err(error) if is_damage(&error) => error,
        Err(error) => return Err(error),
        Ok(newest) => {
            let stands_at = newest.as_ref().and_then(|(meta, _)| meta.last_log_id);
            if log.goes_on_from(stands_at) {
                return Ok(newest);
            }
            let what = "the log does not continue this snapshot: the newest snapshot is missing".to_owned();
            return Err(io::Error::other(SnapshotError::File(FileError::Corrupt {
                file: "snapshots".to_owned(),
                offset: 0,
                what,
            })));
        }
    };
    let older = read(snapshots.open_previous(), &decode)?;
    let stands_at = older.as_ref().and_then(|(meta, _)| meta.last_log_id);
    if !log.goes_on_from(stands_at) {
        return Err(damage);
    }
    tracing::error!(
        %damage,
        goes_on_from = stands_at.map(|log_id| log_id.index),
        "a damaged snapshot is removed: the replica begins with the one before it and repeats its log"
    );
    snapshots.remove_latest().map_err(io::Error::other)?;
    Ok(older)
}

fn read<T>(
    opened: Result<Option<SnapshotReader>, SnapshotError>,
    decode: impl Fn(&[u8]) -> io::Result<T>,
) -> io::Result<Option<(SnapshotMeta, T)>> {
    let Some(mut reader) = opened.map_err(io::Error::other)? else {
        return Ok(None);
    };
    let meta = read_meta(&reader.file().meta)?;
    let bytes = reader.read_to_end().map_err(io::Error::other)?;
    Ok(Some((meta, decode(&bytes)?)))
}

pub(crate) fn write(snapshots: &SnapshotStore, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
    let mut writer = snapshots.begin(codec::encode(meta)?).map_err(io::Error::other)?;
    writer.write(bytes).map_err(io::Error::other)?;
    writer.finish().map_err(io::Error::other)?;
    Ok(())
}

pub(super) fn store_received(
    snapshots: &SnapshotStore,
    meta: &SnapshotMeta,
    data: SnapshotData,
) -> io::Result<Ledger> {
    match data {
        SnapshotData::Received { ledger, bytes } => {
            write(snapshots, meta, &bytes)?;
            Ok(*ledger)
        }
        SnapshotData::Register(_) => Err(io::Error::other("a register is not a ledger")),
        SnapshotData::Stored(mut reader) => {
            let bytes = reader.read_to_end().map_err(io::Error::other)?;
            let ledger = decode_ledger(&bytes)?;
            write(snapshots, meta, &bytes)?;
            Ok(ledger)
        }
    }
}

/// Builder of one snapshot while the shard runs.
pub(crate) struct SnapshotBuilder {
    state: SharedState,
    snapshots: SnapshotStore,
    changes: ChangeLog,
    health: Health,
    threads: Threads,
    stopped: watch::Receiver<bool>,
    counters: Arc<Counters>,
}

impl SnapshotBuilder {
    pub(super) fn new(
        state: SharedState,
        snapshots: SnapshotStore,
        changes: ChangeLog,
        health: Health,
        (threads, stopped): (Threads, watch::Receiver<bool>),
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            state,
            snapshots,
            changes,
            health,
            threads,
            stopped,
            counters,
        }
    }
}

/// Reason why there is no snapshot.
#[derive(Debug)]
enum NotBuilt {
    /// The state violates an invariant.
    Wrong(Violation),
    /// A disk failed.
    Failed(io::Error),
}

impl From<io::Error> for NotBuilt {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Builds a snapshot from a copy of the ledger. The copy shares all unchanged data with the original, to
/// which entries are applied meanwhile. The changes are synced before the snapshot exists, because afterwards
/// the log from which they could be derived may be purged.
fn build(
    meta: &SnapshotMeta,
    ledger: &Ledger,
    snapshots: &SnapshotStore,
    changes: &ChangeLog,
) -> Result<Snapshot, NotBuilt> {
    check(ledger).map_err(NotBuilt::Wrong)?;
    let bytes = ledger.encode();
    changes.sync().map_err(io::Error::other)?;
    write(snapshots, meta, &bytes)?;
    let written = open_latest(snapshots)?;
    Ok(written.ok_or_else(|| io::Error::other("the snapshot just written is not there"))?)
}

impl RaftSnapshotBuilder<Types> for SnapshotBuilder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, ledger) = {
            let state = self.state.read().await;
            if self.health.is_dead() {
                return Err(io::Error::other("the replica died while an entry was applied"));
            }
            let meta = SnapshotMeta {
                last_log_id: state.applied,
                last_membership: state.membership.clone(),
            };
            (meta, state.ledger.clone())
        };
        let (snapshots, changes) = (self.snapshots.clone(), self.changes.clone());
        let index = meta.last_log_id.map_or(0, |last| last.index);
        let result = self
            .threads
            .in_background(move || match build(&meta, &ledger, &snapshots, &changes) {
                Ok(snapshot) => Ok(Ok(snapshot)),
                Err(NotBuilt::Wrong(violation)) => Ok(Err(violation)),
                Err(NotBuilt::Failed(error)) => Err(error),
            })
            .await;
        match result {
            Ok(Ok(snapshot)) => {
                add(&self.counters.snapshots_built, 1);
                Ok(snapshot)
            }
            Ok(Err(violation)) => {
                add(&self.counters.invariant_violations, 1);
                self.health
                    .halt(Halt::new(HaltCause::State, index, None, violation));
                // An error would end Raft. There is no further snapshot as long as this replica runs.
                self.stopped.wait_for(|stopped| *stopped).await.ok();
                Err(io::Error::other(
                    "the replica is stopping, and its state was wrong",
                ))
            }
            Err(error) => {
                self.health.fail(format!("building a snapshot: {error}"));
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::LedgerOptions;
    use holdfast_storage::{ChangeLogOptions, ChangeRecord, FaultDisk};

    use super::*;

    #[test]
    fn changes_are_on_disk_before_a_snapshot_lets_go_of_their_entries() {
        let change = |seq: u64| ChangeRecord {
            first_seq: seq,
            last_seq: seq,
            log_index: seq,
            payload: Bytes::from_static(b"a change"),
        };
        for seed in 0..20 {
            let disk = FaultDisk::new(seed);
            let snapshots = SnapshotStore::open(Arc::new(disk.clone()), 0).unwrap();
            let open = |disk: &FaultDisk| {
                ChangeLog::open(Arc::new(disk.clone()), 0, ChangeLogOptions::default())
                    .unwrap()
                    .0
            };
            let changes = open(&disk);
            for seq in 1..=20 {
                changes.append(change(seq)).unwrap();
            }
            let ledger = Ledger::new(LedgerOptions::default());
            build(&SnapshotMeta::default(), &ledger, &snapshots, &changes).unwrap();
            assert_eq!(open(&disk.crash()).last_seq(), 20, "seed {seed}");
        }
    }
}
