//! A register as openraft's state machine.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use holdfast_storage::SnapshotStore;
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder};
use tokio::sync::watch;

use super::Register;
use crate::health::Health;
use crate::host::Threads;
use crate::log_store::LogStore;
use crate::raft_types::{LogId, RaftEntry, Response, SnapshotMeta, StoredMembership, Types};
use crate::state_machine::{Snapshot, SnapshotData, open_latest, read_newest, store_snapshot};

/// A register and the entries that it has applied.
pub(crate) struct Machine<D> {
    register: D,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshots: SnapshotStore,
    view: watch::Sender<Arc<D>>,
    health: Health,
    threads: Threads,
}

impl<D: Register> Machine<D> {
    /// Starts from the newest snapshot, or from an empty register, and applies the later entries that the log
    /// is known to have committed. Reads from disk.
    pub(super) fn recover(
        snapshots: SnapshotStore,
        log: &LogStore,
        health: Health,
        threads: Threads,
    ) -> io::Result<(Self, watch::Receiver<Arc<D>>)> {
        let mut machine = Self {
            register: D::default(),
            applied: None,
            membership: StoredMembership::default(),
            snapshots,
            view: watch::Sender::new(Arc::default()),
            health,
            threads,
        };
        let bytes = |bytes: &[u8]| Ok(Bytes::copy_from_slice(bytes));
        if let Some((meta, bytes)) = read_newest(&machine.snapshots, log, bytes)? {
            machine.load(&meta, &bytes)?;
        }
        log.replay(machine.applied, |entry| {
            machine.apply_one(entry);
            Ok::<_, io::Error>(())
        })?;
        machine.publish();
        let view = machine.view.subscribe();
        Ok((machine, view))
    }

    fn load(&mut self, meta: &SnapshotMeta, bytes: &[u8]) -> io::Result<()> {
        self.register = D::decode(bytes).map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))?;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        Ok(())
    }

    fn apply_one(&mut self, entry: RaftEntry) -> Response {
        self.applied = Some(entry.log_id);
        match entry.payload {
            EntryPayload::Blank => Response::Nothing,
            EntryPayload::Normal(command) => Response::Answer(self.register.apply(command.bytes())),
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
                Response::Nothing
            }
        }
    }

    fn publish(&self) {
        self.view.send_replace(Arc::new(self.register.clone()));
    }

    fn died<T>(&self, doing: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.health.fail(format!("{doing}: {error}"));
        }
        result
    }

    async fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let bytes = match data {
            SnapshotData::Register(bytes) => bytes,
            SnapshotData::Stored(mut reader) => reader.read_to_end().map_err(io::Error::other)?.into(),
            SnapshotData::Received { .. } => return Err(io::Error::other("a ledger is not a register")),
        };
        // Disk first, then memory: after a crash in between, recovery finds the snapshot.
        let (snapshots, stored_meta, stored) = (self.snapshots.clone(), meta.clone(), bytes.clone());
        let write = move || store_snapshot(&snapshots, &stored_meta, &stored);
        self.threads.blocking(write).await?;
        self.load(meta, &bytes)?;
        self.publish();
        Ok(())
    }
}

impl<D: Register> RaftStateMachine<Types> for Machine<D> {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let response = self.apply_one(entry);
            // Published before the answer, so the caller finds its change in the view.
            self.publish();
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            meta: SnapshotMeta {
                last_log_id: self.applied,
                last_membership: self.membership.clone(),
            },
            register: self.register.encode(),
            snapshots: self.snapshots.clone(),
            health: self.health.clone(),
            threads: self.threads,
        }
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let result = self.install(meta, data).await;
        self.died("installing a snapshot", result)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let snapshots = self.snapshots.clone();
        self.threads.blocking(move || open_latest(&snapshots)).await
    }
}

/// Writes a copy of the register to disk.
pub(crate) struct Builder {
    meta: SnapshotMeta,
    register: Bytes,
    snapshots: SnapshotStore,
    health: Health,
    threads: Threads,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        let (meta, register, snapshots) = (self.meta.clone(), self.register.clone(), self.snapshots.clone());
        let build = move || {
            store_snapshot(&snapshots, &meta, &register)?;
            open_latest(&snapshots)?.ok_or_else(|| io::Error::other("the snapshot just written is not there"))
        };
        let result = self.threads.blocking(build).await;
        if let Err(error) = &result {
            self.health.fail(format!("building a snapshot: {error}"));
        }
        result
    }
}
