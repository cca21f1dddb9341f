//! Starting and stopping one node.
//!
//! A start has three steps, in files of their own: `open` opens what is on this machine (ports, certificates, the
//! data folder), `join` takes this node's part in the cluster, `serve` lets callers in. When a step fails, what the
//! steps before it began is ended in good order ([`Begun`]).

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

/// How often [`Node::ready`] looks.
const READINESS_INTERVAL: Duration = Duration::from_millis(10);
/// How long a stopping node waits for another to take over a shard.
const HANDOVER_PATIENCE: Duration = Duration::from_secs(2);
/// How long a stopping node waits for its own tasks.
const TASKS_PATIENCE: Duration = Duration::from_secs(5);

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
        let mut begun = Begun::new();
        match open_join_serve(config, &mut begun).await {
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

/// Starts a node in three steps: what is on this machine, its part in the cluster, its services.
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
