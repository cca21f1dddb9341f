//! The ledger as openraft's state machine: entries in, outcomes and changes out.

mod snapshot;

use std::io;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use holdfast_ledger::{Applied, Entry, Ledger, LedgerOptions};
use holdfast_storage::{ChangeLog, ChangeRecord, SnapshotStore};
use openraft::storage::{EntryResponder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::{RwLock, watch};

pub(crate) use snapshot::{
    Snapshot, SnapshotBuilder, SnapshotData, open_latest, read_meta, write as store_snapshot,
};

use crate::Host;
use crate::clock::LogClock;
use crate::codec;
use crate::health::Health;
use crate::host::{EntryObserver, Threads};
use crate::log_store::LogStore;
use crate::metrics::{Counters, add};
use crate::raft_types::{LogId, RaftEntry, Response, SnapshotMeta, StoredMembership, Types};
use crate::trace::Traces;

/// The ledger and how far it is. Locked for writing by the state machine alone, for an entry at a time.
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

/// The lock is an asynchronous one so that nobody who waits for it blocks the shard's thread.
pub(crate) type SharedState = Arc<RwLock<State>>;

/// What the others want to know after each applied batch without taking the lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) applied_index: u64,
    pub(crate) log_time_ms: u64,
    pub(crate) last_seq: u64,
    pub(crate) next_due_ms: Option<u64>,
    pub(crate) cells: u64,
    pub(crate) live_reservations: u64,
    /// Orders whose participants have not all followed, and reservations that wait for an order's decision.
    pub(crate) unsettled_orders: u64,
    pub(crate) prepared_reservations: u64,
    pub(crate) oldest_prepared_ms: u64,
    pub(crate) deficit_cells: u64,
    pub(crate) deficit_units: u64,
}

impl View {
    fn of(state: &State) -> Self {
        let (prepared_reservations, oldest_prepared_ms) = state.ledger.prepared();
        let (deficit_cells, deficit_units) = state.ledger.deficit();
        Self {
            deficit_cells,
            deficit_units,
            unsettled_orders: state.ledger.unsettled_order_count(),
            prepared_reservations,
            oldest_prepared_ms,
            applied_index: state.applied.map_or(0, |applied| applied.index),
            log_time_ms: state.ledger.log_time_ms(),
            last_seq: state.ledger.last_seq(),
            next_due_ms: state.ledger.next_due_ms(),
            cells: state.ledger.cell_count(),
            live_reservations: state.ledger.live_reservation_count(),
        }
    }
}

/// What openraft drives.
pub(crate) struct StateMachine {
    state: SharedState,
    snapshots: SnapshotStore,
    applying: Applying,
    view: watch::Sender<View>,
    /// Of changes that are in the change log; after a restart ahead of the ledger until it has caught up.
    last_seq: watch::Sender<u64>,
    health: Health,
    threads: Threads,
    clock: LogClock,
    counters: Arc<Counters>,
}

/// What it takes to apply an entry.
struct Applying {
    changes: ChangeLog,
    observer: Option<EntryObserver>,
    counters: Arc<Counters>,
    traces: Traces,
}

/// The state machine's shared ends.
pub(crate) struct StateMachineEnds {
    pub(crate) state: SharedState,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) last_seq: watch::Receiver<u64>,
}

impl StateMachine {
    /// Starts from the newest snapshot, or empty, and applies what the log is known to have committed since. Reads from disk, and
    /// may take long: on a thread where that is allowed, so that the shards of a node do it side by side.
    pub(crate) fn recover(
        options: LedgerOptions,
        log: &LogStore,
        (snapshots, changes): (SnapshotStore, ChangeLog),
        host: &Host,
        clock: LogClock,
        health: Health,
        counters: Arc<Counters>,
    ) -> io::Result<(Self, StateMachineEnds)> {
        let mut state = match snapshot::read_latest(&snapshots)? {
            Some((meta, ledger)) => State {
                ledger,
                applied: meta.last_log_id,
                membership: meta.last_membership,
            },
            None => State {
                ledger: Ledger::new(options),
                applied: None,
                membership: StoredMembership::default(),
            },
        };
        skip_changes_in_snapshot(&changes, &state.ledger)?;
        let applying = Applying {
            changes: changes.clone(),
            observer: host.observer.clone(),
            counters: Arc::clone(&counters),
            traces: log.traces(),
        };
        log.replay(state.applied, |entry| {
            let work = read_work(&entry)?;
            applying.apply(&mut state, entry, work.as_ref()).map(drop)
        })?;
        let view = watch::Sender::new(View::of(&state));
        let last_seq = watch::Sender::new(changes.last_seq());
        let state = Arc::new(RwLock::new(state));
        let ends = StateMachineEnds {
            state: Arc::clone(&state),
            view: view.subscribe(),
            last_seq: last_seq.subscribe(),
        };
        Ok((
            Self {
                state,
                snapshots,
                applying,
                view,
                last_seq,
                health,
                threads: host.threads,
                clock,
                counters,
            },
            ends,
        ))
    }

    fn publish(&self, view: View) {
        self.clock.applied(view.log_time_ms);
        self.last_seq.send_if_modified(|last| {
            let newer = view.last_seq > *last;
            *last = view.last_seq.max(*last);
            newer
        });
        self.view.send_replace(view);
    }

    async fn apply_one(&self, (entry, responder): EntryResponder<Types>) -> io::Result<View> {
        let traced = self.applying.traces.apply(entry.log_id.index);
        let work = read_work(&entry)?;
        let mut state = self.state.write().await;
        let result = self.applying.apply(&mut state, entry, work.as_ref());
        // Said before the lock is given back: the ledger may be ahead of what it says to have applied.
        let outcomes = self.died("applying an entry", result)?;
        drop(traced);
        if let Some(responder) = responder {
            responder.send(outcomes);
        }
        Ok(View::of(&state))
    }

    async fn apply_all<S>(&self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let mut view = None;
        while let Some(entry) = entries.try_next().await? {
            view = Some(self.apply_one(entry).await?);
        }
        if let Some(view) = view {
            self.publish(view);
        }
        Ok(())
    }

    fn died<T>(&self, doing: &str, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            self.health.fail(format!("{doing}: {error}"));
        }
        result
    }
}

/// What an entry has for the ledger; none in Raft's own entries.
fn read_work(entry: &RaftEntry) -> io::Result<Option<Entry>> {
    match &entry.payload {
        EntryPayload::Normal(bytes) => Ok(Some(bytes.read()?)),
        EntryPayload::Blank | EntryPayload::Membership(_) => Ok(None),
    }
}

impl Applying {
    fn apply(&self, state: &mut State, entry: RaftEntry, work: Option<&Entry>) -> io::Result<Response> {
        let log_id = entry.log_id;
        let outcomes = match work {
            Some(work) => self.apply_work(&mut state.ledger, log_id.index, work)?,
            None => Response::Nothing,
        };
        if let EntryPayload::Membership(membership) = entry.payload {
            state.membership = StoredMembership::new(Some(log_id), membership);
        }
        state.applied = Some(log_id);
        add(&self.counters.entries_applied, 1);
        Ok(outcomes)
    }

    /// The changes are written before the lock is given back, so a snapshot never misses one. They are not synced: the
    /// log is, and they can be derived from it again.
    fn apply_work(&self, ledger: &mut Ledger, log_index: u64, work: &Entry) -> io::Result<Response> {
        let Applied { outcomes, changes } = ledger.apply(log_index, work).map_err(|violation| {
            add(&self.counters.invariant_violations, 1);
            io::Error::other(violation)
        })?;
        if let (Some(first), Some(last)) = (changes.first(), changes.last()) {
            let (first_seq, last_seq) = (first.seq, last.seq);
            let payload = codec::encode(&changes)?;
            let record = ChangeRecord {
                first_seq,
                last_seq,
                log_index,
                payload,
            };
            self.changes.append(record).map_err(io::Error::other)?;
        }
        if let Some(observer) = &self.observer {
            observer(log_index, work);
        }
        add(&self.counters.commands_applied, work.commands.len());
        Ok(Response::Outcomes(outcomes))
    }
}

/// After a snapshot was installed, its changes are not here; the change log goes on behind them.
fn skip_changes_in_snapshot(changes: &ChangeLog, ledger: &Ledger) -> io::Result<()> {
    if changes.last_seq() < ledger.last_seq() {
        changes
            .reset_to(ledger.last_seq() + 1)
            .map_err(io::Error::other)?;
    }
    Ok(())
}

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.state.read().await;
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        let result = self.apply_all(entries).await;
        self.died("applying an entry", result)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(
            Arc::clone(&self.state),
            self.snapshots.clone(),
            self.applying.changes.clone(),
            self.health.clone(),
            self.threads,
            Arc::clone(&self.counters),
        )
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let result = self.install(meta, data).await;
        self.died("installing a snapshot", result)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<snapshot::Snapshot>> {
        let snapshots = self.snapshots.clone();
        self.threads
            .blocking(move || snapshot::open_latest(&snapshots))
            .await
    }
}

impl StateMachine {
    /// On disk first, then in memory: after a crash in between, recovery finds the snapshot.
    async fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let (snapshots, meta_copy) = (self.snapshots.clone(), meta.clone());
        let ledger = self
            .threads
            .blocking(move || snapshot::store_received(&snapshots, &meta_copy, data))
            .await?;
        let view = {
            let mut state = self.state.write().await;
            skip_changes_in_snapshot(&self.applying.changes, &ledger)?;
            *state = State {
                ledger,
                applied: meta.last_log_id,
                membership: meta.last_membership.clone(),
            };
            View::of(&state)
        };
        self.publish(view);
        add(&self.counters.snapshots_installed, 1);
        Ok(())
    }
}
