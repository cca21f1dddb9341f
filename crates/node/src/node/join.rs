//! The second step of a start: takes this node's part in the cluster, and watches for failures that must end
//! the node.

use std::sync::Arc;

use holdfast_orders::Orders;
use holdfast_shard::Threads;
use holdfast_storage::Log;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::begun::Begun;
use super::open::Opened;
use crate::NodeConfig;
use crate::directory::{self, Membership, MembershipParts};
use crate::listeners::Listeners;
use crate::own_thread::OwnThread;
use crate::peers::{Identity, Peers};
use crate::security::Security;
use crate::space::Space;
use crate::start_error::StartError;
use crate::tasks::Tasks;

/// A node whose replicas run, but which serves no calls yet.
pub(super) struct Joined {
    pub(super) config: NodeConfig,
    pub(super) identity: Identity,
    pub(super) listeners: Listeners,
    pub(super) security: Security,
    pub(super) peers: Peers,
    pub(super) log: Log,
    pub(super) space: Space,
    pub(super) membership: Arc<Membership>,
    pub(super) orders: Orders,
    pub(super) threads: Threads,
    pub(super) tasks: Tasks,
    /// Holds the reason once the node must not go on.
    pub(super) fatal: watch::Receiver<Option<String>>,
    /// The runtime that handles calls of other nodes.
    pub(super) heard_on: Handle,
    pub(super) peers_thread: Option<OwnThread>,
}

/// Starts the replicas that the directory gives this node, and the resolvers of orders.
pub(super) async fn join(opened: Opened, begun: &mut Begun) -> Result<Joined, StartError> {
    let heard_on = opened.heard_on();
    let Opened {
        config,
        identity,
        listeners,
        security,
        stores,
        peers,
        nodes,
        tasks,
        panics,
        peers_thread,
    } = opened;
    let (log, space) = (stores.log.clone(), stores.space.clone());
    let threads = match config.has_one_thread() {
        true => Threads::Shared,
        false => Threads::Own,
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
    // Before anything is read, so that no failure during the reading is missed.
    let fatal = watch_for_the_end(&tasks, &begun.peers_stopping, &membership, &log, panics);
    directory::take_part(&membership).await?;

    let orders = Orders::new(Arc::clone(membership.shards()));
    for shard in 0..membership.shards().len() as u32 {
        let orders = orders.clone();
        tasks.spawn_until(&begun.peers_stopping, "order resolver", async move {
            orders.resolve(shard).await;
        });
    }
    Ok(Joined {
        config,
        identity,
        listeners,
        security,
        peers,
        log,
        space,
        membership,
        orders,
        threads,
        tasks,
        fatal,
        heard_on,
        peers_thread,
    })
}

/// Watches for failures that must end the node: a dead replica, a failed log, a panic.
fn watch_for_the_end(
    tasks: &Tasks,
    stopping: &CancellationToken,
    membership: &Arc<Membership>,
    log: &Log,
    mut panics: mpsc::UnboundedReceiver<String>,
) -> watch::Receiver<Option<String>> {
    let (fatal, fatal_seen) = watch::channel(None);
    let (log_failed, mut log_failure) = mpsc::unbounded_channel();
    log.on_failure(Box::new(move |error| {
        // The receiver is gone only when the node is gone.
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
        // Keeps the sender, so that a late caller of `Node::fatal` still gets the reason.
        stopping.cancelled().await;
    });
    fatal_seen
}
