//! State machine of openraft around the ledger: takes entries, returns outcomes and writes changes.

mod apply;
mod records;
mod recover;
mod snapshot;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use futures::{Stream, TryStreamExt};
use holdfast_ledger::{Ledger, LedgerOptions};
use holdfast_storage::{ChangeLog, SnapshotStore};
use openraft::OptionalSend;
use openraft::storage::{EntryResponder, RaftStateMachine};
use tokio::sync::{RwLock, watch};

pub(crate) use snapshot::{
    Snapshot, SnapshotBuilder, SnapshotData, open_latest, read_newest, write as store_snapshot,
};

use apply::{Applying, NotApplied, Work};
use recover::Source;

use crate::Host;
use crate::clock::LogClock;
use crate::health::Health;
use crate::host::Threads;
use crate::log_store::LogStore;
use crate::metrics::{Counters, add};
use crate::raft_types::{LogId, RaftOf, SnapshotMeta, StoredMembership, Types};

/// The Raft of a shard.
pub(crate) type Raft = RaftOf<StateMachine>;

/// A ledger and the last entry that it has applied. Only the state machine locks it for writing, for one
/// entry at a time.
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    pub(crate) applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    /// Entries that were refused by a rule since the snapshot with which this state began.
    pub(crate) refused: BTreeSet<u64>,
}

/// State behind an asynchronous lock, so that waiting for it does not block the shard's thread.
pub(crate) type SharedState = Arc<RwLock<State>>;

/// Summary of the state, which others read after each applied batch without taking the lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) applied_index: u64,
    /// The version of the rules by which the ledger decides.
    pub(crate) rules: u32,
    pub(crate) log_time_ms: u64,
    pub(crate) last_seq: u64,
    pub(crate) next_due_ms: Option<u64>,
    pub(crate) cells: u64,
    pub(crate) live_reservations: u64,
    /// Orders that some participants have not followed yet.
    pub(crate) unsettled_orders: u64,
    /// Reservations that wait for an order's decision.
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
            rules: state.ledger.rules().number(),
            log_time_ms: state.ledger.log_time_ms(),
            last_seq: state.ledger.last_seq(),
            next_due_ms: state.ledger.next_due_ms(),
            cells: state.ledger.cell_count(),
            live_reservations: state.ledger.live_reservation_count(),
        }
    }
}

/// State machine that openraft drives.
pub(crate) struct StateMachine {
    state: SharedState,
    store: Arc<Store>,
    view: watch::Sender<View>,
    /// The last change in the change log. After a restart it is ahead of the ledger until the ledger has
    /// caught up.
    last_seq: watch::Sender<u64>,
    health: Health,
    threads: Threads,
    clock: LogClock,
    counters: Arc<Counters>,
    stopped: watch::Receiver<bool>,
}

/// Stores from which the state is read, and to which its changes go.
struct Store {
    /// Options of a ledger that begins empty.
    options: LedgerOptions,
    log: LogStore,
    snapshots: SnapshotStore,
    applying: Applying,
}

impl Store {
    /// Returns the source for a running replica. It leaves the check of the whole state to the next snapshot.
    fn source(&self) -> Source<'_> {
        Source {
            options: &self.options,
            snapshots: &self.snapshots,
            log: &self.log,
            applying: &self.applying,
            check_after_entries: u64::MAX,
        }
    }
}

/// Parts of the state machine that others share.
pub(crate) struct StateMachineEnds {
    pub(crate) state: SharedState,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) last_seq: watch::Receiver<u64>,
}

impl StateMachine {
    /// Starts from the newest snapshot, or from an empty ledger, and applies the later entries that the log
    /// is known to have committed. Reads from disk and may take long: call it on a thread where that is
    /// allowed, so that the shards of a node recover at the same time.
    pub(crate) fn recover(
        (options, snapshot_every_entries): (LedgerOptions, u64),
        log: LogStore,
        (snapshots, changes): (SnapshotStore, ChangeLog),
        host: &Host,
        (clock, health): (LogClock, Health),
        counters: Arc<Counters>,
        stopped: watch::Receiver<bool>,
    ) -> io::Result<(Self, StateMachineEnds)> {
        let applying = Applying {
            changes,
            observer: host.observer.clone(),
            counters: Arc::clone(&counters),
            traces: log.traces(),
        };
        let source = Source {
            options: &options,
            snapshots: &snapshots,
            log: &log,
            applying: &applying,
            check_after_entries: snapshot_every_entries,
        };
        let (state, halt) = source.recover()?;
        if let Some(halt) = halt {
            health.halt(halt);
        }
        let view = watch::Sender::new(View::of(&state));
        let last_seq = watch::Sender::new(applying.changes.last_seq());
        let state = Arc::new(RwLock::new(state));
        let ends = StateMachineEnds {
            state: Arc::clone(&state),
            view: view.subscribe(),
            last_seq: last_seq.subscribe(),
        };
        let machine = Self {
            state,
            store: Arc::new(Store {
                options,
                log,
                snapshots,
                applying,
            }),
            view,
            last_seq,
            health,
            threads: host.threads,
            clock,
            counters,
            stopped,
        };
        Ok((machine, ends))
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

    /// Applies an entry that Raft hands over. Skips it while the replica is halted: the entry is in the log,
    /// and is applied when the obstacle is gone. A caller that waits for its outcome learns that the outcome
    /// is unknown.
    async fn apply_one(&self, (entry, responder): EntryResponder<Types>) -> io::Result<View> {
        let index = entry.log_id.index;
        let traced = self.store.applying.traces.apply(index);
        let work = Work::read(&entry);
        let mut state = self.state.write().await;
        if let Some(halt) = self.health.halted() {
            let goes_on = matches!(work, Work::Decision(about) if about == halt.index)
                && halt.cause.can_be_decided()
                && self.go_on(&mut state, index).await?;
            if !goes_on {
                return Ok(View::of(&state));
            }
        }
        // An installed snapshot may be ahead of the skipped entries.
        if state.applied.is_some_and(|applied| applied.index >= index) {
            return Ok(View::of(&state));
        }
        let decision = self.store.log.decision_on(index, index)?;
        let rule = decision.map(|decision| decision.rule);
        match self.store.applying.apply(&mut state, entry, &work, rule) {
            Ok(outcomes) => {
                drop(traced);
                if let Some(responder) = responder {
                    responder.send(outcomes);
                }
            }
            Err(NotApplied::Failed(error)) => {
                // Reported before the lock is released: the ledger may be ahead of its recorded position.
                self.died::<()>("applying an entry", Err(error))?;
            }
            Err(NotApplied::Halted(halt)) => {
                self.health.halt(*halt);
                self.stand_in_front_of(&mut state, index).await?;
            }
        }
        Ok(View::of(&state))
    }

    /// Reads the state before an entry from disk. The state in memory may be between two entries.
    async fn stand_in_front_of(&self, state: &mut State, index: u64) -> io::Result<()> {
        // Two large ledgers may need more memory than there is.
        state.ledger = Ledger::new(self.store.options.clone());
        let store = Arc::clone(&self.store);
        let last = index.saturating_sub(1);
        let read = move || store.source().through(last, last);
        let (before, earlier) = self.died("reading the state again", self.threads.blocking(read).await)?;
        *state = before;
        if let Some(halt) = earlier {
            self.health.halt(halt);
        }
        Ok(())
    }

    /// Applies the entry before which the replica stands, by its committed decision, and then the entries
    /// that were skipped since. Returns `false` when there is another obstacle.
    async fn go_on(&self, state: &mut State, decision: u64) -> io::Result<bool> {
        let empty = State {
            ledger: Ledger::new(self.store.options.clone()),
            applied: None,
            membership: StoredMembership::default(),
            refused: BTreeSet::new(),
        };
        let mut going_on = std::mem::replace(state, empty);
        let store = Arc::clone(&self.store);
        let replay = move || {
            let result = store.source().replay(&mut going_on, decision - 1, decision);
            Ok((going_on, result))
        };
        let replayed = self.threads.blocking(replay).await;
        let (went_on, result) = self.died("applying passed over entries", replayed)?;
        *state = went_on;
        match result {
            Ok(()) => {
                self.health.resume();
                Ok(true)
            }
            Err(NotApplied::Failed(error)) => self.died("applying passed over entries", Err(error)),
            Err(NotApplied::Halted(halt)) => {
                let index = halt.index;
                self.health.halt(*halt);
                self.stand_in_front_of(state, index).await?;
                Ok(false)
            }
        }
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

/// Moves the change log past an installed snapshot, whose changes are not here.
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

    /// Returns `None` while the replica is halted, and until a decision on an applied entry is applied too. A
    /// snapshot between the two would not show how the entry was decided.
    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<SnapshotBuilder> {
        let applied = self.view.borrow().applied_index;
        let unclear = self.health.is_halted() || self.store.log.awaits_decision(applied);
        if unclear && !force {
            return None;
        }
        Some(self.get_snapshot_builder().await)
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        SnapshotBuilder::new(
            Arc::clone(&self.state),
            self.store.snapshots.clone(),
            self.store.applying.changes.clone(),
            self.health.clone(),
            (self.threads, self.stopped.clone()),
            Arc::clone(&self.counters),
        )
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let result = self.install(meta, data).await;
        self.died("installing a snapshot", result)
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<snapshot::Snapshot>> {
        let snapshots = self.store.snapshots.clone();
        self.threads
            .blocking(move || snapshot::open_latest(&snapshots))
            .await
    }
}

impl StateMachine {
    /// Ends a halt after a snapshot was installed, unless the obstacle lies after it. A wrong state is gone
    /// in any case.
    fn leave_behind(&self, installed: Option<LogId>) {
        let installed = installed.map_or(0, |last| last.index);
        let is_behind = |halt: &crate::Halt| halt.cause == crate::HaltCause::State || halt.index <= installed;
        if self.health.halted().is_some_and(|halt| is_behind(&halt)) {
            self.health.resume();
        }
    }

    /// Installs a snapshot on disk first, then in memory: after a crash in between, recovery finds the
    /// snapshot.
    async fn install(&mut self, meta: &SnapshotMeta, data: SnapshotData) -> io::Result<()> {
        let (snapshots, meta_copy) = (self.store.snapshots.clone(), meta.clone());
        let ledger = self
            .threads
            .blocking(move || snapshot::store_received(&snapshots, &meta_copy, data))
            .await?;
        let view = {
            let mut state = self.state.write().await;
            skip_changes_in_snapshot(&self.store.applying.changes, &ledger)?;
            *state = State {
                ledger,
                applied: meta.last_log_id,
                membership: meta.last_membership.clone(),
                refused: BTreeSet::new(),
            };
            self.leave_behind(meta.last_log_id);
            View::of(&state)
        };
        self.publish(view);
        add(&self.counters.snapshots_installed, 1);
        Ok(())
    }
}
