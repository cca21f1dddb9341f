//! A document that all nodes have: a small state machine of its own Raft group, whole in memory, without a ledger's machinery.
//!
//! What a cluster must agree on and rarely changes is kept in one (the node's directory of members and replicas). Its log lies in
//! the node's write-ahead log beside the shards', its messages travel with theirs.

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
use crate::raft_types::{EntryBytes, Raft, Response, safe_config};
use crate::replica_id::node_of;
use crate::state_machine::SnapshotData;
use crate::{
    Host, PeerMessageError, PeerTransport, ReplicaId, StartError, SubmitError, Threads, TransportError, codec,
};

/// Such a document is small: nothing of it takes longer on its way.
const MAX_SNAPSHOT_BYTES: u64 = 16 << 20;

/// How long to wait before asking again when nothing is known to have changed.
const PAUSE: Duration = Duration::from_millis(50);

/// A state machine that is small enough to be copied. Deterministic: the same commands in the same order give the same document
/// and the same answers everywhere.
pub trait Document: Default + Clone + Send + Sync + 'static {
    /// Applies a command and answers it. Must not panic on any bytes.
    fn apply(&mut self, command: &[u8]) -> Bytes;
    /// All of it.
    fn encode(&self) -> Bytes;
    /// # Errors
    /// Why the bytes are not a document.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

/// Who has a replica of a document, and how they agree.
#[derive(Debug, Clone)]
pub struct DocumentOptions {
    /// What peers call the group: as a shard's number, and none of those.
    pub address: u32,
    /// This replica.
    pub replica: ReplicaId,
    /// The nodes that found the group; empty for a replica that comes later.
    pub founders: BTreeSet<u64>,
    /// How often a leader shows that it is alive, in milliseconds.
    pub heartbeat_ms: u64,
    /// The silence after which the first and the last in turn ask to be elected, in milliseconds.
    pub election_timeout_ms: (u64, u64),
    /// A snapshot is built after so many entries.
    pub snapshot_every_entries: u64,
}

/// Where a replica of a document keeps what it must not forget.
pub struct DocumentStores {
    /// The node's write-ahead log.
    pub log: Log,
    /// This replica's part of that log.
    pub group: GroupId,
    /// Its snapshots.
    pub snapshots: SnapshotStore,
}

#[derive(Debug, Serialize, Deserialize)]
enum ForwardReply {
    /// Applied; the document's answer.
    Answer(Bytes),
    NotLeader(Option<u64>),
    /// Perhaps applied.
    Unknown,
}

/// One replica of a document. Cheap to clone.
#[derive(Clone)]
pub struct DocumentHandle<D: Document> {
    options: Arc<DocumentOptions>,
    raft: Raft<Machine<D>>,
    inbound: Inbound<Machine<D>>,
    view: watch::Receiver<Arc<D>>,
    transport: Arc<dyn PeerTransport>,
    health: Health,
}

/// Recovers a replica of a document and starts it, on the caller's runtime.
///
/// # Errors
/// See [`StartError`]; the shard it names is the document's address.
pub async fn start_document<D: Document>(
    threads: Threads,
    options: DocumentOptions,
    stores: DocumentStores,
    transport: Arc<dyn PeerTransport>,
) -> Result<DocumentHandle<D>, StartError> {
    let address = options.address;
    let failed = |what: String| StartError::Raft { shard: address, what };
    let (timeout_min_ms, timeout_max_ms) = fallback_timeouts_ms(options.election_timeout_ms.1);
    let config = Config {
        cluster_name: format!("document-{address}"),
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
    // The document has no time; its messages tell clocks all the same, and nobody asks.
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
    let raft = Raft::new(own_id, Arc::new(config), network.clone(), log_store, machine)
        .await
        .map_err(|error| failed(error.to_string()))?;
    if let Err(what) = crate::replica::found(&raft, &founders).await {
        raft.shutdown().await.ok();
        return Err(failed(what));
    }
    tokio::spawn(campaign(
        raft.clone(),
        leader_watch.clone(),
        network,
        Arc::clone(&counters),
    ));
    let inbound = Inbound::new(
        raft.clone(),
        (|bytes| Ok(SnapshotData::Document(bytes)), None),
        Arc::default(),
        counters,
        (clock, leader_watch),
        threads,
        MAX_SNAPSHOT_BYTES,
    );
    Ok(DocumentHandle {
        options: Arc::new(options),
        raft,
        inbound,
        view,
        transport,
        health,
    })
}

impl<D: Document> DocumentHandle<D> {
    /// The document as this replica has it, which may be behind.
    pub fn view(&self) -> watch::Receiver<Arc<D>> {
        self.view.clone()
    }

    /// Does this replica lead, as far as it knows?
    pub fn leads(&self) -> bool {
        self.raft.metrics().borrow_watched().current_leader == Some(self.options.replica.raft())
    }

    /// The node that leads, as far as this replica knows.
    pub fn leader(&self) -> Option<u64> {
        self.raft.metrics().borrow_watched().current_leader.map(node_of)
    }

    /// The nodes that have a vote.
    pub fn voters(&self) -> Vec<u64> {
        self.raft.voter_ids().map(node_of).collect()
    }

    /// Has a command applied, here or at the leader, and returns the document's answer. It is asked again until the deadline as
    /// long as it certainly had no effect; the document must bear that a command whose outcome was unknown comes twice.
    ///
    /// # Errors
    /// [`SubmitError`]: without a leader, or an unknown outcome.
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

    /// Takes a command that a peer sent with [`PeerTransport::forward`]. Errors travel inside the answer.
    pub async fn handle_forward(&self, command: Bytes) -> Bytes {
        codec::encode(&self.decide(command).await).unwrap_or_default()
    }

    /// As a shard's.
    pub fn handle_raft(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, PeerMessageError>> + Send + use<D> {
        self.inbound.raft(&payload)
    }

    /// As a shard's.
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

    /// Takes the next step towards the replicas that the document should have, if this one leads.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn step_towards(&self, target: &Target) -> Result<Step, MembershipError> {
        let lately = Duration::from_millis(self.options.election_timeout_ms.1);
        membership::step_towards(&self.raft, target, lately).await
    }

    /// Gives up leadership, if it has it, and there is somebody else.
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

    /// Resolves with the reason when this replica is dead: the node must stop. Never after an ordinary stop.
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

    /// Stops. Idempotent.
    pub async fn stop(&self) {
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "the document's raft did not end cleanly");
        }
    }
}
