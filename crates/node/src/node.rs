//! Starting and stopping one node.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_guard::Port;
use holdfast_guard::certificates::CertificateFileError;
use holdfast_guard::policy::PolicyError;
use holdfast_orders::Orders;
use holdfast_shard::{Role, ShardHandle, Threads};
use holdfast_storage::Log;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::NodeConfig;
use crate::api::{Api, CUT_OFF_TIMEOUTS};
use crate::config::PeerSection;
use crate::damage;
use crate::descriptors;
use crate::directory::{self, Membership, MembershipParts, MembershipStartError};
use crate::http::HttpHandle;
use crate::intake::Places;
use crate::listeners::Listeners;
use crate::metrics::{Metrics, MetricsReader, Resources};
use crate::own_thread::OwnThread;
use crate::peers::{Identity, PeerService, Peers};
use crate::router::Router;
use crate::security::Security;
use crate::servers::{ServerTask, intake, serve_admin, serve_clients, serve_peers};
use crate::stores::{self, StoresError};
use crate::tasks::Tasks;
use crate::trace::Sampling;

/// How often [`Node::ready`] looks.
const READINESS_INTERVAL: Duration = Duration::from_millis(10);
/// How long a stopping node waits for another to take over a shard.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a stopping node waits for its own tasks.
const TASKS_PATIENCE: Duration = Duration::from_secs(5);

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
    /// A port cannot be listened on.
    #[error(
        "cannot listen on {address} ({key}): {source}; is another process there, or is the address not of this machine?"
    )]
    Listen {
        /// Which key of the configuration.
        key: &'static str,
        /// Its value.
        address: String,
        /// Why.
        source: std::io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Certificates(#[from] CertificateFileError),
    /// The policy cannot be used.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Stores(#[from] StoresError),
    /// It cannot take its part in the cluster.
    #[error(transparent)]
    Membership(#[from] MembershipStartError),
    /// A server did not start.
    #[error("the {server} server did not start: {message}")]
    Server {
        /// Which.
        server: &'static str,
        /// Why.
        message: String,
    },
    /// Bytes on its disk are not what was written, and the others do not do without this node.
    #[error("{damage}. This node does not start on damaged data, and leaves the files as they are: {why}")]
    Damaged {
        /// What is damaged.
        damage: String,
        /// Why the data was not replaced from the other nodes.
        why: String,
    },
}

/// Why a node did not stop cleanly. Nothing acknowledged is lost: the log was synced before each answer.
#[derive(Debug, thiserror::Error)]
#[error("the node did not stop cleanly: {0}")]
pub struct StopError(pub String);

/// A running node. Dropping it without [`Node::stop`] stops nothing in good order.
pub struct Node {
    api: Arc<Api>,
    client_address: SocketAddr,
    admin_address: SocketAddr,
    peer_address: SocketAddr,
    http_address: SocketAddr,
    log: Log,
    http: HttpHandle,
    client_server: ServerTask,
    admin_server: ServerTask,
    fatal: watch::Receiver<Option<String>>,
    /// Look at the files again.
    reload: Arc<Notify>,
    /// Ends the peers' streams and servers, after the shards are stopped.
    peers_stopping: CancellationToken,
    /// Where other nodes are heard, beyond the reach of callers; none with one thread for everything.
    _peers_thread: Option<OwnThread>,
}

/// What is started on the way and has to be ended when a later step fails.
struct Begun {
    peers_stopping: CancellationToken,
    membership: Option<Arc<Membership>>,
    log: Option<Log>,
}

impl Begun {
    async fn undo(self) {
        if let Some(membership) = self.membership {
            for shard in membership.shards().iter() {
                shard.stop().await;
            }
            membership.stop().await;
        }
        self.peers_stopping.cancel();
        if let Some(log) = self.log {
            let closed = tokio::task::spawn_blocking(move || log.close()).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::warn!("the log was not closed cleanly after a failed start");
            }
        }
    }
}

impl Node {
    /// Starts a node in the current tokio runtime and returns when it listens. It is ready a moment later: see
    /// [`Node::ready`]. With one thread in the configuration this must be called in a `LocalSet`, which
    /// [`run_with_threads`](crate::run_with_threads) provides.
    ///
    /// # Errors
    /// [`StartError`] says what stands in the way: the configuration, a port, the data folder.
    pub async fn start(config: NodeConfig) -> Result<Self, StartError> {
        config.validate()?;
        descriptors::prepare(&config);
        match Self::start_once(config.clone()).await {
            Err(error) if damage::is_damage(&error) => {
                damage::replace(&config, error).await?;
                Self::start_once(config).await
            }
            started => started,
        }
    }

    async fn start_once(config: NodeConfig) -> Result<Self, StartError> {
        let listeners = Listeners::bind(&config)?;
        let mut begun = Begun {
            peers_stopping: CancellationToken::new(),
            membership: None,
            log: None,
        };
        match begin(config, listeners, &mut begun).await {
            Ok(node) => Ok(node),
            Err(error) => {
                begun.undo().await;
                Err(error)
            }
        }
    }

    /// Where clients reach it.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where operators reach it.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Where the other nodes reach it.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Looks at the files of certificates and of the policy again now, not only at the next interval. New ones that are good
    /// are used, certificates for new handshakes; bad ones are logged and what was there before stays.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// What `/metrics` shows, for whoever sends it elsewhere.
    pub fn metrics(&self) -> MetricsReader {
        MetricsReader::new(&self.api)
    }

    /// Its id in the cluster.
    pub fn node_id(&self) -> u64 {
        self.api.identity.node_id
    }

    /// Is every replica caught up, and does every shard have a leader?
    pub fn is_ready(&self) -> bool {
        self.api.not_ready_because().is_none()
    }

    /// Waits until [`Node::is_ready`]. Without a quorum that may be long.
    pub async fn ready(&self) {
        while !self.is_ready() {
            tokio::time::sleep(READINESS_INTERVAL).await;
        }
    }

    /// Waits until the node must not go on (a replica died, the log failed, a part of it panicked), and says why. Stop the
    /// process then. Never returns otherwise.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops gracefully: no longer ready, leads nothing, finishes what it has taken, closes shards and log.
    ///
    /// # Errors
    /// [`StopError`] when something did not end in time or the log could not be closed.
    pub async fn stop(self) -> Result<(), StopError> {
        let mut problems = Vec::new();
        self.api.leaving.store(true, Ordering::Relaxed);
        tracing::info!("stopping: handing leadership over");
        futures::future::join_all(self.api.router.shards().iter().map(hand_over)).await;
        self.api.membership.hand_over().await;

        tracing::info!("stopping: finishing calls under way");
        self.api.stopping.cancel();
        let drained = Instant::now() + Duration::from_millis(self.api.limits.drain_ms);
        for (name, mut server) in [("client", self.client_server), ("admin", self.admin_server)] {
            match tokio::time::timeout_at(drained, &mut server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => problems.push(format!("the {name} server failed: {error}")),
                Ok(Err(error)) => problems.push(format!("the {name} server failed: {error}")),
                Err(_) => {
                    // Their outcome is unknown to the callers, who retry with the same ids.
                    tracing::warn!(
                        server = name,
                        drain_ms = self.api.limits.drain_ms,
                        "calls under way were cut off"
                    );
                    server.abort();
                }
            }
        }

        tracing::info!("stopping: closing shards and log");
        futures::future::join_all(self.api.router.shards().iter().map(ShardHandle::stop)).await;
        self.api.membership.stop().await;
        self.peers_stopping.cancel();
        self.http.stop().await;
        if !self.api.tasks.finish(TASKS_PATIENCE).await {
            problems.push("some tasks did not end".to_owned());
        }
        let log = self.log;
        match tokio::task::spawn_blocking(move || log.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => problems.push(error.to_string()),
            Err(error) => problems.push(error.to_string()),
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(StopError(problems.join("; ")))
        }
    }
}

async fn hand_over(shard: &ShardHandle) {
    let status = shard.status();
    if status.role != Role::Leader || status.voters.len() < 2 {
        return;
    }
    match tokio::time::timeout(HANDOVER_PATIENCE, shard.transfer_leader(None)).await {
        Ok(Ok(to)) => tracing::info!(shard = status.shard, to, "leadership handed over"),
        Ok(Err(error)) => tracing::warn!(shard = status.shard, %error, "leadership was not handed over"),
        Err(_) => tracing::warn!(shard = status.shard, "leadership was not handed over in time"),
    }
}

/// This node's own entry may name port 0: fill in what was bound.
fn nodes_with_ports(config: &NodeConfig, listeners: &Listeners) -> Result<Vec<PeerSection>, StartError> {
    let (client, peer) = (listeners.client_address()?, listeners.peer_address()?);
    let admin = listeners.admin_address()?;
    let fill = |address: &str, bound: SocketAddr| match address.rsplit_once(':') {
        Some((host, "0")) => format!("{host}:{}", bound.port()),
        _ => address.to_owned(),
    };
    let mut nodes = config.cluster_nodes();
    for node in nodes
        .iter_mut()
        .filter(|node| node.node_id == config.node.node_id)
    {
        node.client_address = fill(&node.client_address, client);
        node.peer_address = fill(&node.peer_address, peer);
        node.admin_address = node.admin_address.as_deref().map(|address| fill(address, admin));
    }
    let silent = nodes.iter().filter(|node| node.admin_address.is_none());
    let silent: Vec<u64> = silent.map(|node| node.node_id).collect();
    if !silent.is_empty() {
        tracing::info!(
            nodes = ?silent,
            "peers has no admin_address for these nodes: the topology cannot tell operators where their admin ports are"
        );
    }
    Ok(nodes)
}

async fn begin(config: NodeConfig, listeners: Listeners, begun: &mut Begun) -> Result<Node, StartError> {
    let client_address = listeners.client_address()?;
    let admin_address = listeners.admin_address()?;
    let peer_address = listeners.peer_address()?;
    let http_address = listeners.http_address()?;
    let identity = Identity {
        cluster_id: config.node.cluster_id.unwrap_or_default(),
        node_id: config.node.node_id,
    };
    let nodes = nodes_with_ports(&config, &listeners)?;
    let (tasks, panics) = Tasks::new();
    let (fatal, fatal_seen) = watch::channel(None);
    let security = Security::start(&config, &tasks, &begun.peers_stopping)?;

    let stores = stores::open(&config).await?;
    let (log, space) = (stores.log.clone(), stores.space.clone());
    begun.log = Some(log.clone());
    // With one thread for everything, nodes are heard there too; large requests have one of their own all the same.
    let peers_thread = match config.has_one_thread() {
        true => None,
        false => Some(OwnThread::start("peers").map_err(no_thread)?),
    };
    let heard_on = peers_thread.as_ref().and_then(OwnThread::handle);
    let heard_on = heard_on.unwrap_or_else(Handle::current);
    let peers = Peers::new(
        identity,
        security.tls.as_ref(),
        &space,
        &tasks,
        &begun.peers_stopping,
    );
    let peers = peers.running_on(heard_on.clone());
    let threads = if config.has_one_thread() {
        Threads::Shared
    } else {
        Threads::Own
    };
    let membership = Membership::new(MembershipParts {
        identity,
        config: config.clone(),
        configured: nodes,
        threads,
        stores,
        peers: peers.clone(),
        tasks: tasks.clone(),
        stopping: begun.peers_stopping.clone(),
    })?;
    begun.membership = Some(Arc::clone(&membership));
    let shards = Arc::clone(membership.shards());
    // Before anything is read, so that nothing that fails meanwhile is missed.
    watch_for_the_end(&tasks, &begun.peers_stopping, &membership, &log, panics, fatal);
    directory::take_part(&membership).await?;

    let orders = Orders::new(Arc::clone(&shards));
    for shard in 0..shards.len() as u32 {
        let (orders, stopping) = (orders.clone(), begun.peers_stopping.clone());
        tasks.spawn("order resolver", async move {
            tokio::select! {
                () = orders.resolve(shard) => {}
                () = stopping.cancelled() => {}
            }
        });
    }
    let large_calls = Arc::new(OwnThread::start_behind("large calls").map_err(no_thread)?);
    let resources = Resources {
        budget: security.budget(),
        data_dir: config.node.data_dir.clone(),
        space: space.clone(),
        log: log.clone(),
        peers: peers.clone(),
    };
    let api = Arc::new(Api {
        identity,
        membership: Arc::clone(&membership),
        limits: config.limits.clone(),
        router: Router::new(Arc::clone(&shards)),
        orders,
        peers,
        space: space.clone(),
        access: security.access(),
        metrics: Metrics::new(
            identity.node_id,
            Arc::clone(&shards),
            resources,
            &security.metrics,
        ),
        tasks: tasks.clone(),
        started: Instant::now(),
        cut_off_after_ms: config.raft.election_timeout_max_ms * CUT_OFF_TIMEOUTS,
        backups: Arc::new(Semaphore::new(1)),
        change_streams: Places::new(
            "change streams, listings and as-of reads",
            config.limits.change_streams,
        ),
        batch_streams: Places::new("batch streams", config.limits.batch_streams),
        large_calls: Arc::clone(&large_calls),
        leaving: AtomicBool::new(false),
        // A child, so that a start that fails later ends what was begun here too.
        stopping: begun.peers_stopping.child_token(),
    });
    tasks.spawn("space on the disk", space.clone().watch(api.stopping.clone()));
    if config.raft.spread_leaders {
        let (spread, stopping) = (crate::leaders::spread(Arc::clone(&api)), api.stopping.clone());
        tasks.spawn("spread of leaders", async move {
            tokio::select! {
                () = spread => {}
                () = stopping.cancelled() => {}
            }
        });
    }
    let entered = heard_on.enter();
    serve_peers(
        listeners.peer,
        security.gate(Port::Peer),
        PeerService::new(
            identity,
            Arc::clone(&membership),
            space,
            large_calls,
            tasks.clone(),
            begun.peers_stopping.clone(),
        ),
        &tasks,
        &begun.peers_stopping,
        Sampling::of_peers(&config.telemetry),
    )?;
    drop(entered);
    // The others may ask for what this node says now.
    let (keeping, stopping) = (Arc::clone(&membership), begun.peers_stopping.clone());
    tasks.spawn_beside_replicas(threads, "replicas of this node", async move {
        tokio::select! {
            () = directory::keep_seats(keeping) => {}
            () = stopping.cancelled() => {}
        }
    });
    let (leading, stopping) = (Arc::clone(&membership), api.stopping.clone());
    tasks.spawn("leaders of this node", async move {
        tokio::select! {
            () = directory::lead(leading) => {}
            () = stopping.cancelled() => {}
        }
    });
    let intake = intake(&api)?;
    let client_server = serve_clients(
        listeners.client,
        security.gate(Port::Client),
        &config,
        &api,
        intake.clone(),
        &begun.peers_stopping,
    )?;
    let admin_server = serve_admin(listeners.admin, security.gate(Port::Admin), &config, &api, intake)?;
    let http_tls = security.tls.as_ref().filter(|_| config.tls.http);
    let http = crate::http::start(listeners.http, http_tls, Arc::clone(&api))
        .await
        .map_err(|error| StartError::Server {
            server: "http",
            message: error.to_string(),
        })?;
    tracing::info!(node_id = identity.node_id, %client_address, %admin_address, %peer_address, %http_address, "listening");
    Ok(Node {
        api,
        client_address,
        admin_address,
        peer_address,
        http_address,
        log,
        http,
        client_server,
        admin_server,
        fatal: fatal_seen,
        reload: security.reload,
        peers_stopping: begun.peers_stopping.clone(),
        _peers_thread: peers_thread,
    })
}

fn no_thread(error: std::io::Error) -> StartError {
    StartError::Server {
        server: "peer",
        message: format!("the system gives no thread: {error}"),
    }
}

/// Notices what the node must not survive: a dead replica, a failed log, a panic.
fn watch_for_the_end(
    tasks: &Tasks,
    stopping: &CancellationToken,
    membership: &Arc<Membership>,
    log: &Log,
    mut panics: mpsc::UnboundedReceiver<String>,
    fatal: watch::Sender<Option<String>>,
) {
    let (log_failed, mut log_failure) = mpsc::unbounded_channel();
    log.on_failure(Box::new(move |error| {
        // Nobody listens any more only when the node is gone.
        let _ = log_failed.send(error.to_string());
    }));
    let membership = Arc::clone(membership);
    let stopping = stopping.clone();
    tasks.spawn("watch for the end", async move {
        let dead: Vec<_> = membership
            .shards()
            .iter()
            .map(|shard| {
                let (number, fatal) = (shard.shard(), shard.fatal());
                Box::pin(async move { format!("the replica of shard {number} died: {}", fatal.await) })
            })
            .collect();
        let reason = tokio::select! {
            (reason, _, _) = futures::future::select_all(dead) => reason,
            reason = membership.fatal() => reason,
            Some(reason) = panics.recv() => reason,
            Some(reason) = log_failure.recv() => reason,
            () = stopping.cancelled() => return,
        };
        tracing::error!(reason, "this node must stop");
        fatal.send_replace(Some(reason));
        // Keeps the sender, so that whoever asks later still learns it.
        stopping.cancelled().await;
    });
}
