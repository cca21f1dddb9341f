//! One running replica: the values that its handle shares with its thread.

mod handover;
mod run;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::Addr;
use holdfast_storage::ChangeLog;
use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use parking_lot::Mutex;
use tokio::sync::watch;

pub(crate) use run::{Stopper, found, start};

use crate::clock::LogClock;
use crate::health::Health;
use crate::metrics::Counters;
use crate::peer::Inbound;
use crate::proposer::Proposer;
use crate::read::Freshest;
use crate::read_gate::ReadGate;
use crate::replica_id::node_of;
use crate::state_machine::Raft;
use crate::state_machine::{SharedState, View};
use crate::{ConsumerStatus, Halt, Host, PeerTransport, ReplicaStatus, Role, ShardOptions};

/// Parts of a replica that its handle and its thread share.
pub(crate) struct Replica {
    pub(crate) options: ShardOptions,
    pub(crate) host: Host,
    pub(crate) clock: LogClock,
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) raft: Raft,
    pub(crate) inbound: Inbound,
    pub(crate) proposer: Addr<Proposer>,
    pub(crate) gate: ReadGate,
    pub(crate) state: SharedState,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) last_seq: watch::Receiver<u64>,
    pub(crate) leader: watch::Receiver<Option<u64>>,
    pub(crate) changes: ChangeLog,
    /// Registered consumers, as of the last look at them.
    pub(crate) consumers: watch::Receiver<Vec<ConsumerStatus>>,
    pub(crate) health: Health,
    pub(crate) counters: Arc<Counters>,
    /// Number of commands that wait in the proposer.
    pub(crate) waiting: Arc<AtomicU64>,
    pub(crate) freshest: Arc<Mutex<Freshest>>,
    pub(crate) stopped: watch::Receiver<bool>,
}

impl Replica {
    pub(crate) fn leads(&self) -> bool {
        *self.leader.borrow() == Some(self.options.raft_id())
    }

    fn was_told_to_stop(&self) -> bool {
        // When no sender is left to report the end, the replica has ended as well.
        *self.stopped.borrow() || self.stopped.has_changed().is_err()
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.was_told_to_stop() || self.health.is_dead()
    }

    /// Returns whether nobody may be answered from the ledger here.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_stopped() || self.health.is_halted()
    }

    /// Returns whether this replica cannot help a caller, not even by forwarding the request.
    pub(crate) fn is_no_help(&self) -> bool {
        self.is_stopped() || (self.health.is_halted() && self.leads())
    }

    /// Returns, in milliseconds, for how long this replica may have missed something.
    pub(crate) fn age_ms(&self) -> u64 {
        let age = if self.leads() {
            let acked = self.raft.metrics().borrow_watched().last_quorum_acked;
            acked.map(|acked| acked.elapsed())
        } else {
            let applied_index = self.view.borrow().applied_index;
            self.freshest
                .lock()
                .complete_at(applied_index)
                .map(|at| at.elapsed())
        };
        age.map_or(u64::MAX, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    pub(crate) fn status(&self) -> ReplicaStatus {
        // Computed before the metrics are borrowed here, because it borrows them too.
        let age_ms = self.age_ms();
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        let view = *self.view.borrow();
        let stopped_because = match self.health.failure() {
            Some(why) => Some(why),
            None if self.was_told_to_stop() => Some("it was told to".into()),
            None => None,
        };
        let halted = self.health.halted();
        let role = match metrics.state {
            _ if stopped_because.is_some() => Role::Stopped,
            _ if halted.is_some() => Role::Halted,
            openraft::ServerState::Leader => Role::Leader,
            openraft::ServerState::Follower => Role::Follower,
            openraft::ServerState::Candidate => Role::Candidate,
            openraft::ServerState::Learner => Role::Learner,
            openraft::ServerState::Shutdown => Role::Stopped,
        };
        let index = |log_id: Option<crate::raft_types::LogId>| log_id.map_or(0, |log_id| log_id.index);
        ReplicaStatus {
            shard: self.options.shard,
            node_id: self.options.node_id,
            generation: self.options.generation,
            role,
            leader: self.leader.borrow().map(node_of),
            voters: metrics
                .membership_config
                .membership()
                .voter_ids()
                .map(node_of)
                .collect(),
            term: metrics.current_term,
            last_log_index: metrics.last_log_index.unwrap_or(0),
            committed_index: index(metrics.cluster_committed.max(metrics.local_committed)),
            applied_index: view.applied_index,
            snapshot_index: index(metrics.snapshot),
            purged_index: index(metrics.purged),
            first_seq: self.changes.first_seq(),
            last_seq: *self.last_seq.borrow(),
            cells: view.cells,
            live_reservations: view.live_reservations,
            unsettled_orders: view.unsettled_orders,
            prepared_reservations: view.prepared_reservations,
            oldest_prepared_ms: view.oldest_prepared_ms,
            deficit_cells: view.deficit_cells,
            deficit_units: view.deficit_units,
            waiting_commands: self.waiting.load(Ordering::Relaxed),
            log_time_ms: view.log_time_ms,
            rules: view.rules,
            age_ms,
            stopped_because,
            halted: halted.map(|halt| Halt::clone(&halt)),
        }
    }
}
