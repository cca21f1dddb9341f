//! A register that all nodes have: a small state machine with its own Raft group, held in memory as a whole.
//!
//! It needs none of a ledger's machinery. It keeps what a cluster must agree on and rarely changes, such as
//! the node's directory of members and replicas. Its log lies in the node's write-ahead log beside those of
//! the shards, and its messages travel with theirs.

mod machine;

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_storage::{GroupId, Log, SnapshotStore};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::{Config, SnapshotPolicy};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use self::machine::Machine;
use crate::clock::LogClock;
use crate::election::{ElectionOptions, LeaderWatch, campaign, fallback_timeouts_ms};
use crate::health::Health;
use crate::log_store::LogStore;
use crate::membership::{self, MembershipError, Step, Target};
use crate::metrics::Counters;
use crate::peer::{Inbound, Network, NetworkOptions};
use crate::quorum_watch::QuorumWatch;
use crate::raft_types::{EntryBytes, RaftOf, Response, safe_config};
use crate::replica_id::node_of;
use crate::state_machine::SnapshotData;
use crate::{
    Host, PeerMessageError, PeerTransport, ReplicaId, StartError, SubmitError, Threads, TransportError, codec,
};

/// Largest snapshot of a register, in bytes. Registers are small, so none needs more.
const MAX_SNAPSHOT_BYTES: u64 = 16 << 20;

/// Pause before asking again when nothing is known to have changed.
const PAUSE: Duration = Duration::from_millis(50);

/// A state machine that is small enough to be copied. It must be deterministic: the same commands in the same
/// order give the same register and the same answers on every node.
pub trait Register: Default + Clone + Send + Sync + 'static {
    /// Applies a command and returns its answer. Must not panic on any bytes.
    fn apply(&mut self, command: &[u8]) -> Bytes;
    /// Encodes the whole register.
    fn encode(&self) -> Bytes;
    /// Decodes a whole register.
    ///
    /// # Errors
    /// The reason why the bytes are not a register.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// The replicas of a register, and the times and sizes of their Raft group.
#[derive(Debug, Clone)]
pub struct RegisterOptions {
    /// Number by which peers address the group. It is like a shard's number, and no shard has it.
    pub address: u32,
    /// Identifies this replica.
    pub replica: ReplicaId,
    /// The nodes that found the group; empty for a replica that comes later.
    pub founders: BTreeSet<u64>,
    /// Interval of a leader's heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// The silence in milliseconds after which the first in turn asks to be elected, and after which the last
    /// one does.
    pub election_timeout_ms: (u64, u64),
    /// Number of entries after which a snapshot is built.
    pub snapshot_every_entries: u64,
}

/// Stores of a register's replica, for what it must not forget.
pub struct RegisterStores {
    /// The node's write-ahead log.
    pub log: Log,
    /// This replica's part of that log.
    pub group: GroupId,
    /// Snapshots of this replica.
    pub snapshots: SnapshotStore,
}

#[derive(Debug, Serialize, Deserialize)]
enum ForwardReply {
    /// The command was applied; this is the register's answer.
    Answer(Bytes),
    NotLeader(Option<u64>),
    /// The command may have been applied.
    Unknown,
}

/// One replica of a register. Cheap to clone.
#[derive(Clone)]
pub struct RegisterHandle<D: Register> {
    options: Arc<RegisterOptions>,
    raft: RaftOf<Machine<D>>,
    inbound: Inbound<Machine<D>>,
    view: watch::Receiver<Arc<D>>,
    transport: Arc<dyn PeerTransport>,
    health: Health,
}

/// Recovers a replica of a register and starts it, on the caller's runtime.
///
/// # Errors
/// See [`StartError`]. The shard it names is the register's address.
pub async fn start_register<D: Register>(
    threads: Threads,
    options: RegisterOptions,
    stores: RegisterStores,
    transport: Arc<dyn PeerTransport>,
) -> Result<RegisterHandle<D>, StartError> {
    let address = options.address;
    let failed = |what: String| StartError::Raft { shard: address, what };
    let (timeout_min_ms, timeout_max_ms) = fallback_timeouts_ms(options.election_timeout_ms.1);
    let config = Config {
        cluster_name: format!("register-{address}"),
        heartbeat_interval: options.heartbeat_ms,
        election_timeout_min: timeout_min_ms,
        election_timeout_max: timeout_max_ms,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every_entries),
        max_in_snapshot_log_to_keep: options.snapshot_every_entries,
        ..safe_config()
    };
    let config = config.validate().map_err(|error| StartError::Options {
        shard: address,
        what: error.to_string(),
    })?;
    let health = Health::new(address);
    let failing = health.clone();
    stores
        .log
        .on_failure(Box::new(move |error| failing.fail(error.to_string())));
    let own_id = options.replica.raft();
    let founders: BTreeSet<u64> = options
        .founders
        .iter()
        .map(|node| ReplicaId::founder(*node).raft())
        .collect();
    // A register has no time. Its messages carry clocks like all others, and nobody reads them here.
    let clock = LogClock::new(Host::default().wall_clock, own_id, founders.clone());
    let log_store = LogStore::new(stores.log, stores.group);
    let recovered = {
        let (snapshots, log_store, health) = (stores.snapshots, log_store.clone(), health.clone());
        threads
            .blocking(move || Machine::recover(snapshots, &log_store, health, threads))
            .await
    };
    let (machine, view) = recovered.map_err(|error| StartError::recovery(address, &error))?;
    let network = NetworkOptions {
        shard: address,
        max_appends_in_flight: 4,
        append_timeout: Duration::from_millis(timeout_max_ms),
        snapshot_chunk_bytes: 256 << 10,
        threads,
    };
    let network = Network::new(
        network,
        Arc::clone(&transport),
        clock.clone(),
        QuorumWatch::default(),
    );
    let election = ElectionOptions {
        group: address,
        own_id,
        timeout_min: Duration::from_millis(options.election_timeout_ms.0),
        timeout_max: Duration::from_millis(options.election_timeout_ms.1),
    };
    let leader_watch = LeaderWatch::new(election, transport.gone());
    let counters = Arc::new(Counters::default());
    let raft = RaftOf::new(own_id, Arc::new(config), network.clone(), log_store, machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if let Err(what) = crate::replica::found(&raft, &founders, &health).await {
        raft.shutdown().await.ok();
        return Err(failed(what));
    }
    let campaigning = campaign(raft.clone(), leader_watch.clone(), network, Arc::clone(&counters));
    tokio::spawn(health.fails_with("campaign", campaigning));
    let inbound = Inbound::new(
        raft.clone(),
        (|bytes| Ok(SnapshotData::Register(bytes)), None),
        Arc::default(),
        counters,
        (clock, leader_watch),
        threads,
        MAX_SNAPSHOT_BYTES,
    );
    Ok(RegisterHandle {
        options: Arc::new(options),
        raft,
        inbound,
        view,
        transport,
        health,
    })
}

impl<D: Register> RegisterHandle<D> {
    /// Returns the register as this replica has it, which may be behind.
    pub fn view(&self) -> watch::Receiver<Arc<D>> {
        self.view.clone()
    }

    /// Returns whether this replica leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().current_leader == Some(self.options.replica.raft())
    }

    /// Returns the leading node, as far as this replica knows.
    pub fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().current_leader.map(node_of)
    }

    /// Returns the nodes that have a vote.
    pub fn voters(&self) -> Vec<u64> {
        self.raft.voter_ids().map(node_of).collect()
    }

    /// Has a command applied, here or at the leader, and returns the register's answer. Repeats the command
    /// until the deadline, as long as it certainly had no effect. The caller may repeat a command whose
    /// outcome is unknown, so the register must allow for the same command twice.
    ///
    /// # Errors
    /// [`SubmitError`]: there is no leader, or the outcome is unknown.
    pub async fn propose(&self, command: Bytes, deadline: Instant) -> Result<Bytes, SubmitError> {
        let mut hint = None;
        while Instant::now() < deadline {
            if self.health.is_dead() {
                return Err(SubmitError::Stopped);
            }
            let said = match hint.take().or_else(|| self.leader()) {
                Some(node) if node == self.options.replica.node() => {
                    tokio::time::timeout_at(deadline, self.decide(command.clone())).await
                }
                Some(node) => Ok(self.ask(node, command.clone(), deadline).await),
                None => Ok(ForwardReply::NotLeader(None)),
            };
            match said {
                Ok(ForwardReply::Answer(answer)) => return Ok(answer),
                Ok(ForwardReply::NotLeader(leader)) => {
                    hint = leader.filter(|leader| *leader != self.options.replica.node());
                }
                Ok(ForwardReply::Unknown) | Err(_) => return Err(SubmitError::OutcomeUnknown),
            }
            if hint.is_none() {
                tokio::time::sleep_until(deadline.min(Instant::now() + PAUSE)).await;
            }
        }
        Err(SubmitError::NoLeader)
    }

    async fn decide(&self, command: Bytes) -> ForwardReply {
        match self.raft.client_write(EntryBytes::opaque(command)).await {
            Ok(written) => match written.data {
                Response::Answer(answer) => ForwardReply::Answer(answer),
                Response::Nothing | Response::Outcomes(_) => ForwardReply::Unknown,
            },
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(forward))) => {
                ForwardReply::NotLeader(forward.leader_id.map(node_of))
            }
            Err(_) => ForwardReply::Unknown,
        }
    }

    async fn ask(&self, node: u64, command: Bytes, deadline: Instant) -> ForwardReply {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let answer = self
            .transport
            .forward(node, self.options.address, command, timeout);
        match answer.await {
            Ok(answer) => codec::decode(&answer).unwrap_or(ForwardReply::Unknown),
            Err(TransportError::NotSent(_)) => ForwardReply::NotLeader(None),
            Err(TransportError::Unknown(_)) => ForwardReply::Unknown,
        }
    }

    /// Applies a command that a peer sent with [`PeerTransport::forward`]. Errors travel inside the answer.
    pub async fn handle_forward(&self, command: Bytes) -> Bytes {
        codec::encode(&self.decide(command).await).unwrap_or_default()
    }

    /// Answers a Raft message of a peer, like a shard's replica.
    pub fn handle_raft(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, PeerMessageError>> + Send + use<D> {
        self.inbound.raft(&payload)
    }

    /// Receives a snapshot from a peer, like a shard's replica.
    ///
    /// # Errors
    /// See [`PeerMessageError`].
    pub async fn handle_snapshot(
        &self,
        header: Bytes,
        data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> Result<Bytes, PeerMessageError> {
        self.inbound.snapshot(&header, data).await
    }

    /// Takes the next step towards the target's replicas, if this replica leads.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn step_towards(&self, target: &Target) -> Result<Step, MembershipError> {
        let lately = Duration::from_millis(self.options.election_timeout_ms.1);
        membership::step_towards(&self.raft, target, lately).await
    }

    /// Gives up leadership, if this replica leads and another one can take over.
    pub async fn hand_over(&self) {
        let own_id = self.options.replica.raft();
        let lately = Duration::from_millis(self.options.election_timeout_ms.1);
        let heir = {
            let metrics = self.raft.metrics();
            let metrics = metrics.borrow_watched();
            let mut voters = metrics.membership_config.voter_ids();
            let leads = metrics.current_leader == Some(own_id);
            leads
                .then(|| voters.find(|voter| crate::leadership::has_nearly_all(&metrics, *voter, lately)))
                .flatten()
        };
        if let Some(heir) = heir {
            self.raft.trigger().transfer_leader(heir).await.ok();
        }
    }

    /// Resolves with the reason when this replica is dead: then the node must stop. Never resolves after an
    /// ordinary stop.
    pub async fn fatal(&self) -> String {
        let mut metrics = self.raft.server_metrics();
        let ended = async {
            while metrics.changed().await.is_ok() {}
            let state = self.raft.metrics().borrow_watched().running_state.clone();
            match state {
                Ok(()) | Err(Fatal::Stopped) => std::future::pending().await,
                Err(fatal) => format!("raft: {fatal}"),
            }
        };
        tokio::select! {
            why = self.health.wait() => why,
            why = ended => why,
        }
    }

    /// Stops the replica. Idempotent.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the register's raft did not end cleanly");
        }
    }
}
