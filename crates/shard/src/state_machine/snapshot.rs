//! Snapshots of a shard: built from the ledger, kept on disk, sent to and taken from peers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use holdfast_ledger::Ledger;
use holdfast_storage::{ChangeLog, SnapshotReader, SnapshotStore};
use openraft::RaftSnapshotBuilder;

use super::SharedState;
use crate::codec;
use crate::health::Health;
use crate::host::Threads;
use crate::metrics::{Counters, add};
use crate::raft_types::{SnapshotMeta, Types};

pub(crate) type Snapshot = openraft::type_config::alias::SnapshotOf<Types, SnapshotData>;

/// The content of a snapshot.
pub(crate) enum SnapshotData {
    /// On this node's disk.
    Stored(SnapshotReader),
    /// Just received, already checked, not yet on disk.
    Received {
        /// What it says.
        ledger: Box<Ledger>,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Just received: a [`Document`](crate::Document), whole.
    Document(Bytes),
}

impl SnapshotData {
    /// The last change of the ledger that it holds, if it was just received and is one.
    pub(crate) fn last_seq(&self) -> Option<u64> {
        match self {
            Self::Received { ledger, .. } => Some(ledger.last_seq()),
            Self::Stored(_) | Self::Document(_) => None,
        }
    }

    /// Reads what a peer sent and checks every invariant.
    pub(crate) fn received(bytes: Bytes) -> io::Result<Self> {
        let ledger = decode_ledger(&bytes)?;
        Ok(Self::Received {
            ledger: Box::new(ledger),
            bytes,
        })
    }
}

fn decode_ledger(bytes: &[u8]) -> io::Result<Ledger> {
    Ledger::decode(bytes).map_err(|what| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("not a ledger snapshot: {what}"),
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

pub(super) fn read_latest(snapshots: &SnapshotStore) -> io::Result<Option<(SnapshotMeta, Ledger)>> {
    let Some(mut reader) = snapshots.open_latest().map_err(io::Error::other)? else {
        return Ok(None);
    };
    let meta = read_meta(&reader.file().meta)?;
    let bytes = reader.read_to_end().map_err(io::Error::other)?;
    Ok(Some((meta, decode_ledger(&bytes)?)))
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
        SnapshotData::Document(_) => Err(io::Error::other("a document is not a ledger")),
        SnapshotData::Stored(mut reader) => {
            let bytes = reader.read_to_end().map_err(io::Error::other)?;
            let ledger = decode_ledger(&bytes)?;
            write(snapshots, meta, &bytes)?;
            Ok(ledger)
        }
    }
}

/// Builds one snapshot beside the running shard.
pub(crate) struct SnapshotBuilder {
    state: SharedState,
    snapshots: SnapshotStore,
    changes: ChangeLog,
    health: Health,
    threads: Threads,
    counters: Arc<Counters>,
}

impl SnapshotBuilder {
    pub(super) fn new(
        state: SharedState,
        snapshots: SnapshotStore,
        changes: ChangeLog,
        health: Health,
        threads: Threads,
        counters: Arc<Counters>,
    ) -> Self {
        Self {
            state,
            snapshots,
            changes,
            health,
            threads,
            counters,
        }
    }
}

/// The ledger is a copy, which shares with the original what has not changed since: entries are applied meanwhile. The changes
/// are synced before the snapshot exists, because the log they could be derived from may then be purged.
fn build(
    meta: &SnapshotMeta,
    ledger: &Ledger,
    snapshots: &SnapshotStore,
    changes: &ChangeLog,
) -> io::Result<Snapshot> {
    ledger.check().map_err(io::Error::other)?;
    let bytes = ledger.encode();
    changes.sync().map_err(io::Error::other)?;
    write(snapshots, meta, &bytes)?;
    open_latest(snapshots)?.ok_or_else(|| io::Error::other("the snapshot just written is not there"))
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
        let result = self
            .threads
            .in_background(move || build(&meta, &ledger, &snapshots, &changes))
            .await;
        match &result {
            Ok(_) => add(&self.counters.snapshots_built, 1),
            Err(error) => self.health.fail(format!("building a snapshot: {error}")),
        }
        result
    }
}
