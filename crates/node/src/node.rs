//! The start and the stop of one node.
//!
//! A start has three steps, each in a file of its own: `open` opens what is on this machine (ports,
//! certificates, the data folder), `join` takes this node's part in the cluster, and `serve` lets callers in.
//! When a step fails, [`Begun`] ends in good order what the earlier steps started.

mod begun;
mod join;
mod open;
mod serve;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_shard::{Role, ShardHandle};
use holdfast_storage::Log;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::begun::Begun;
use crate::NodeConfig;
use crate::api::Api;
use crate::damage;
use crate::descriptors;
use crate::http::HttpHandle;
use crate::metrics::MetricsReader;
use crate::own_thread::OwnThread;
use crate::servers::ServerTask;
use crate::start_error::{StartError, StopError};

/// Interval at which [`Node::ready`] checks.
const READINESS_INTERVAL: Duration = Duration::from_millis(10);
/// Longest time that a stopping node waits for another node to take over a shard.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);
/// Longest time that a stopping node waits for its own tasks.
const TASKS_PATIENCE: Duration = Duration::from_secs(5);

/// A running node. Dropping it without [`Node::stop`] skips the orderly stop.
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
    /// Makes the node read its certificate and policy files again.
    reload: Arc<Notify>,
    /// Ends the peers' streams and servers, after the shards are stopped.
    peers_stopping: CancellationToken,
    /// The thread that handles calls of other nodes, so that callers cannot slow them down. None when one
    /// thread does everything.
    _peers_thread: Option<OwnThread>,
}

impl Node {
    /// Starts a node in the current tokio runtime, and returns once it listens. The node is ready a moment
    /// later: see [`Node::ready`]. With one thread in the configuration, call this in a `LocalSet`, which
    /// [`run_with_threads`](crate::run_with_threads) provides.
    ///
    /// # Errors
    /// [`StartError`] names the obstacle: the configuration, a port, the data folder.
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
        let mut begun = Begun::new();
        match open_join_serve(config, &mut begun).await {
            Ok(node) => Ok(node),
            Err(error) => {
                begun.undo().await;
                Err(error)
            }
        }
    }

    /// The address of the port for clients.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// The address of the port for operators.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The address of the port for other nodes.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// The address of `/metrics`, `/livez` and `/readyz`.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Reads the certificate and policy files again now, without waiting for the next interval. Good new
    /// files are used (certificates for new handshakes only). Bad ones are logged, and the earlier ones stay
    /// in use.
    pub fn reload(&self) {
        self.reload.notify_one();
    }

    /// Returns a reader of what `/metrics` shows, for code that sends it elsewhere.
    pub fn metrics(&self) -> MetricsReader {
        MetricsReader::new(&self.api)
    }

    /// The id of this node in the cluster.
    pub fn node_id(&self) -> u64 {
        self.api.identity.node_id
    }

    /// Returns whether every replica is caught up and every shard has a leader.
    pub fn is_ready(&self) -> bool {
        self.api.not_ready_because().is_none()
    }

    /// Waits until [`Node::is_ready`] holds. Without a quorum this may take long.
    pub async fn ready(&self) {
        while !self.is_ready() {
            tokio::time::sleep(READINESS_INTERVAL).await;
        }
    }

    /// Waits until the node must not go on (a replica died, the log failed, a task panicked), and returns the
    /// reason. The process must stop then. Otherwise this never returns.
    pub async fn fatal(&self) -> String {
        let mut fatal = self.fatal.clone();
        match fatal.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Stops gracefully: reports that it is not ready, hands over leadership, finishes the calls it has
    /// taken, and closes its shards and its log.
    ///
    /// # Errors
    /// [`StopError`] when a part did not end in time or the log could not be closed.
    pub async fn stop(self) -> Result<(), StopError> {
        let mut problems = Vec::new();
        self.api.leaving.store(true, Ordering::Relaxed);
        tracing::info!("stopping: handing leadership over");
        futures::future::join_all(self.api.router.shards().iter().map(hand_over)).await;
        self.api.membership.hand_over().await;

        tracing::info!("stopping: finishing calls under way");
        self.api.stopping.cancel();
        let drained = Instant::now() + self.api.limits.drain.duration();
        for (name, mut server) in [("client", self.client_server), ("admin", self.admin_server)] {
            match tokio::time::timeout_at(drained, &mut server).await {
                Ok(Ok(Ok(()))) => {}
                Ok(Ok(Err(error))) => problems.push(format!("the {name} server failed: {error}")),
                Ok(Err(error)) => problems.push(format!("the {name} server failed: {error}")),
                Err(_) => {
                    // The callers do not know the outcome of these calls; they retry with the same ids.
                    tracing::warn!(
                        server = name,
                        drain_ms = self.api.limits.drain.as_millis(),
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

/// Starts a node in three steps: this machine, the node's part in the cluster, its services.
async fn open_join_serve(config: NodeConfig, begun: &mut Begun) -> Result<Node, StartError> {
    let opened = open::open(config, begun).await?;
    let joined = join::join(opened, begun).await?;
    serve::serve(joined, begun).await
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
