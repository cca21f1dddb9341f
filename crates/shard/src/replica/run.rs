//! Thread of a replica: an actix arbiter, on which its Raft group, its actor and its timers live.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix::Actor;
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::{Fatal, InitializeError, RaftError};
use openraft::storage::RaftStateMachine;
use openraft::{Config, EmptyNode, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::Replica;
use crate::clock::LogClock;
use crate::consumers::HistoryKeeper;
use crate::election::{LeaderWatch, campaign, fallback_timeouts_ms};
use crate::health::Health;
use crate::leadership::leave_while_halted;
use crate::log_store::LogStore;
use crate::metrics::Counters;
use crate::peer::{History, Inbound, Network, NetworkOptions, mend};
use crate::proposer::{Proposer, ProposerOptions, ProposerParts, StopProposing};
use crate::quorum_watch::QuorumWatch;
use crate::raft_types::{RaftOf, Types, safe_config};
use crate::read_gate::ReadGate;
use crate::replica_id::node_of;
use crate::state_machine::Raft;
use crate::state_machine::{SnapshotData, StateMachine};
use crate::{Host, PeerTransport, ShardOptions, ShardStores, StartError, Threads};

/// Most submissions that wait for the actor to look at them; each holds one or many commands.
const MAILBOX_MESSAGES: usize = 16_384;

/// How long a new leader waits for clocks that would settle the time, in longest election timeouts.
const CLOCK_PATIENCE_ELECTIONS: u64 = 2;

/// Longest time in which a snapshot may be sent, in milliseconds.
const SNAPSHOT_TIMEOUT_MS: u64 = 10 * 60 * 1000;

/// Handle that ends a replica's thread.
pub(crate) struct Stopper {
    stop: watch::Sender<bool>,
    /// Channel that closes when the thread has ended.
    ended: watch::Receiver<()>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Stopper {
    /// Stops Raft and ends the thread. Idempotent.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut ended = self.ended.clone();
        while ended.changed().await.is_ok() {}
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            // A panic of the thread was already reported where it happened.
            tokio::task::spawn_blocking(move || thread.join().ok()).await.ok();
        }
    }
}

/// Starts the thread and waits until the replica is recovered.
pub(crate) async fn start(
    host: Host,
    options: ShardOptions,
    stores: ShardStores,
    transport: Arc<dyn PeerTransport>,
) -> Result<(Replica, Stopper), StartError> {
    let shard = options.shard;
    options
        .check()
        .map_err(|what| StartError::Options { shard, what })?;
    let (ready, built) = oneshot::channel();
    let (stop, stopped) = watch::channel(false);
    let (end, ended) = watch::channel(());
    let threads = host.threads;
    let running = async move {
        run(host, options, stores, transport, ready, stopped).await;
        drop(end);
    };
    let thread = match threads {
        Threads::Own => Some(on_own_thread(shard, running)?),
        Threads::Shared | Threads::Caller => {
            actix::spawn(running);
            None
        }
    };
    let stopper = Stopper {
        stop,
        ended,
        thread: Mutex::new(thread),
    };
    match built.await {
        Ok(built) => built.map(|replica| (replica, stopper)),
        Err(_) => Err(StartError::Raft {
            shard,
            what: "its thread ended".into(),
        }),
    }
}

fn on_own_thread(
    shard: u32,
    running: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, StartError> {
    let failed = |error: std::io::Error| StartError::Raft {
        shard,
        what: error.to_string(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(failed)?;
    let thread = std::thread::Builder::new().name(format!("shard-{shard}"));
    let work = move || actix::System::with_tokio_rt(|| runtime).block_on(running);
    thread.spawn(work).map_err(failed)
}

async fn run(
    host: Host,
    options: ShardOptions,
    stores: ShardStores,
    transport: Arc<dyn PeerTransport>,
    ready: oneshot::Sender<Result<Replica, StartError>>,
    mut stopped: watch::Receiver<bool>,
) {
    let shard = options.shard;
    match build(host, options, stores, transport, stopped.clone()).await {
        Ok(replica) => {
            let (raft, proposer) = (replica.raft.clone(), replica.proposer.clone());
            ready.send(Ok(replica)).ok();
            stopped.wait_for(|stop| *stop).await.ok();
            proposer.send(StopProposing).await.ok();
            if let Err(error) = raft.shutdown().await {
                tracing::warn!(shard, %error, "raft did not end cleanly");
            }
        }
        Err(error) => {
            ready.send(Err(error)).ok();
        }
    }
}

fn raft_config(options: &ShardOptions) -> Config {
    let (timeout_min_ms, timeout_max_ms) = fallback_timeouts_ms(options.election_timeout_max_ms);
    Config {
        cluster_name: format!("shard-{}", options.shard),
        // openraft also uses this interval as the timeout of a heartbeat's answer, and a peer that answers
        // after the next heartbeat is still alive. So it is longer than the heartbeats' interval, which the
        // quorum watch keeps.
        heartbeat_interval: timeout_min_ms * 2 / 3,
        election_timeout_min: timeout_min_ms,
        election_timeout_max: timeout_max_ms,
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_every_entries),
        max_in_snapshot_log_to_keep: options.keep_entries_for_laggards,
        // A replica that lacks less than what the log keeps catches up from the log.
        replication_lag_threshold: options.keep_entries_for_laggards.max(1),
        ..safe_config()
    }
}

async fn build(
    host: Host,
    options: ShardOptions,
    stores: ShardStores,
    transport: Arc<dyn PeerTransport>,
    stopped: watch::Receiver<bool>,
) -> Result<Replica, StartError> {
    let shard = options.shard;
    let recovery = |error: std::io::Error| StartError::recovery(shard, &error);
    let raft_error = |what: String| StartError::Raft { shard, what };
    let config = raft_config(&options)
        .validate()
        .map_err(|error| StartError::Options {
            shard,
            what: error.to_string(),
        })?;
    let health = Health::new(shard);
    let counters = Arc::new(Counters::default());
    let clock = LogClock::new(
        Arc::clone(&host.wall_clock),
        options.raft_id(),
        options.founder_ids(),
    );
    let failing = health.clone();
    stores
        .log
        .on_failure(Box::new(move |error| failing.fail(error.to_string())));

    let log_store = LogStore::new(stores.log, stores.group);
    let (machine, ends) = {
        let (ledger, log_store) = (options.ledger.clone(), log_store.clone());
        let kept = (stores.snapshots, stores.changes.clone());
        let (clock, health) = (clock.clone(), health.clone());
        let (host, counters) = (host.clone(), Arc::clone(&counters));
        let threads = host.threads;
        let begin = (ledger, options.snapshot_every_entries);
        let stopped = stopped.clone();
        let recover =
            move || StateMachine::recover(begin, log_store, kept, &host, (clock, health), counters, stopped);
        threads.blocking(recover).await.map_err(recovery)?
    };
    let network_options = NetworkOptions {
        shard,
        max_appends_in_flight: options.max_appends_in_flight,
        append_timeout: options.lease(),
        snapshot_chunk_bytes: options.snapshot_chunk_bytes,
        threads: host.threads,
    };
    let quorum = QuorumWatch::default();
    let network = Network::new(
        network_options,
        Arc::clone(&transport),
        clock.clone(),
        quorum.clone(),
    );
    let voters = network.clone();
    let leader_watch = LeaderWatch::new(options.election(), transport.gone());
    let raft = Raft::new(options.raft_id(), Arc::new(config), network, log_store, machine)
        .await
        .map_err(|error| raft_error(error.to_string()))?;
    let initialized = raft.is_initialized().await;
    let initialized = initialized.map_err(|error| raft_error(error.to_string()))?;
    let founds = !initialized && !options.founders.is_empty();
    if let Err(what) = found(&raft, &options.founder_ids(), &health).await {
        raft.shutdown().await.ok();
        return Err(raft_error(what));
    }

    let (leader_sender, leader) = watch::channel(None);
    let watching = watch_raft(raft.clone(), leader_sender, clock.clone(), health.clone());
    actix::spawn(health.fails_with("watch of Raft", watching));
    let leaving = leave_while_halted(
        raft.clone(),
        options.raft_id(),
        leader.clone(),
        health.watch_halted(),
        Duration::from_millis(options.election_timeout_max_ms),
    );
    actix::spawn(health.fails_with("handover while halted", leaving));
    let counting = quorum.run(raft.clone(), options.clone());
    actix::spawn(health.fails_with("watch of the quorum", counting));
    let campaigning = campaign(raft.clone(), leader_watch.clone(), voters, Arc::clone(&counters));
    actix::spawn(health.fails_with("campaign", campaigning));
    let (gate, confirming) = ReadGate::new(raft.clone(), Arc::clone(&counters), options.queue_limit_reads);
    actix::spawn(health.fails_with("confirmation of reads", confirming));
    let waiting = Arc::default();
    let parts = ProposerParts {
        options: ProposerOptions {
            raft_id: options.raft_id(),
            founds,
            max_entry_commands: options.max_entry_commands,
            max_entry_bytes: options.max_entry_bytes,
            max_entries_in_flight: options.max_entries_in_flight,
            queue_limit_commands: options.queue_limit_commands,
            clock_patience: Duration::from_millis(options.election_timeout_max_ms * CLOCK_PATIENCE_ELECTIONS),
        },
        raft: raft.clone(),
        gate: gate.clone(),
        state: Arc::clone(&ends.state),
        view: ends.view.clone(),
        leader: leader.clone(),
        clock: clock.clone(),
        health: health.clone(),
        counters: Arc::clone(&counters),
        transport: Arc::clone(&transport),
        waiting: Arc::clone(&waiting),
    };
    let proposer = Proposer::create(|ctx| {
        ctx.set_mailbox_capacity(MAILBOX_MESSAGES);
        Proposer::new(parts)
    });
    let freshest = Arc::default();
    let history = History {
        shard,
        changes: stores.changes.clone(),
        transport: Arc::clone(&transport),
        threads: host.threads,
        health: health.clone(),
    };
    let (members, own_node) = (raft.clone(), options.node_id);
    let others = move || {
        let metrics = members.metrics();
        let metrics = metrics.borrow_watched();
        let voters = metrics.membership_config.membership().voter_ids();
        let nodes: BTreeSet<u64> = voters.map(node_of).collect();
        nodes.into_iter().filter(|node| *node != own_node).collect()
    };
    let mending = mend(history.clone(), others, stopped.clone());
    actix::spawn(health.fails_with("mending of the history", mending));
    let (consumers_sender, consumers) = watch::channel(Vec::new());
    let keeper = HistoryKeeper {
        shard,
        changes: stores.changes.clone(),
        state: Arc::clone(&ends.state),
        host: host.clone(),
        health: health.clone(),
        history_ms: options.history_ms,
        consumers: consumers_sender,
    };
    actix::spawn(health.fails_with("keeping of the history", keeper.run(stopped.clone())));
    let inbound = Inbound::new(
        raft.clone(),
        (SnapshotData::received, Some(history)),
        Arc::clone(&freshest),
        Arc::clone(&counters),
        (clock.clone(), leader_watch),
        host.threads,
        options.max_snapshot_bytes,
    );
    Ok(Replica {
        options,
        host,
        clock,
        transport,
        raft,
        inbound,
        proposer,
        gate,
        state: ends.state,
        view: ends.view,
        last_seq: ends.last_seq,
        leader,
        changes: stores.changes,
        consumers,
        health,
        counters,
        waiting,
        freshest,
        stopped,
    })
}

/// How long a founder waits for the first one to begin, in longest election timeouts.
const FOUNDING_PATIENCE: u32 = 10;

/// Founds the group. On an empty log every founder would write the same first entry, and the first of the
/// founders does it. Two that begin at once would stand against each other, so the others wait to hear from
/// the first, and begin themselves if that takes too long. The leader adds replicas that come later through
/// the log.
pub(crate) async fn found<SM>(
    raft: &RaftOf<SM>,
    founders: &BTreeSet<u64>,
    health: &Health,
) -> Result<(), String>
where
    SM: RaftStateMachine<Types>,
{
    let initialized = raft.is_initialized().await.map_err(|error| error.to_string())?;
    if initialized || founders.is_empty() {
        return Ok(());
    }
    if founders.first() == Some(raft.node_id()) {
        return begin(raft, founders).await;
    }
    let (raft, founders) = (raft.clone(), founders.clone());
    let patience = Duration::from_millis(raft.config().election_timeout_max) * FOUNDING_PATIENCE;
    let founding = async move {
        tokio::time::sleep(patience).await;
        if matches!(raft.is_initialized().await, Ok(false))
            && let Err(error) = begin(&raft, &founders).await
        {
            tracing::warn!(error, "the group was not founded");
        }
    };
    tokio::spawn(health.fails_with("founding", founding));
    Ok(())
}

async fn begin<SM>(raft: &RaftOf<SM>, founders: &BTreeSet<u64>) -> Result<(), String>
where
    SM: RaftStateMachine<Types>,
{
    let voters: BTreeMap<u64, EmptyNode> = founders
        .iter()
        .map(|replica| (*replica, EmptyNode::default()))
        .collect();
    match raft.initialize(voters).await {
        // A peer was faster, and its first entry is here already.
        Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Reports who leads, whose clocks count, and when Raft has died.
async fn watch_raft(raft: Raft, leader: watch::Sender<Option<u64>>, clock: LogClock, health: Health) {
    let mut server = raft.server_metrics();
    loop {
        let (current, voters) = {
            let server = server.borrow_and_update();
            let voters: BTreeSet<u64> = server.membership_config.voter_ids().collect();
            (server.current_leader, voters)
        };
        // The voters are set before anybody learns that this replica leads. No voters are known before the
        // first entry.
        if !voters.is_empty() {
            clock.set_voters(voters);
        }
        leader.send_if_modified(|last| std::mem::replace(last, current) != current);
        if server.changed().await.is_err() {
            break;
        }
    }
    leader.send_replace(None);
    let state = raft.metrics().borrow_watched().running_state.clone();
    match state {
        Ok(()) | Err(Fatal::Stopped) => {}
        Err(fatal) => health.fail(format!("raft: {fatal}")),
    }
}
