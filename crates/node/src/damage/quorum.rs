//! Checks whether the other nodes have a quorum of every shard without this node's data.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use holdfast_ledger::Query;
use holdfast_shard::{Freshness, PeerTransport, ReplicaId, ShardHandle};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::NodeConfig;
use crate::config::PeerSection;
use crate::directory;
use crate::peers::{Identity, Peers};
use crate::security::Security;
use crate::space::Space;
use crate::tasks::Tasks;

/// Longest time that one round of questions may take.
const ROUND: Duration = Duration::from_secs(3);

/// Waits until every shard that this node had a replica of answers a confirmed read. Such a read shows a
/// quorum without this node. The error says which shards did not answer within `patience`.
pub(super) async fn others_do_without(config: &NodeConfig, patience: Duration) -> Result<(), String> {
    let seats = {
        let config = config.clone();
        let read = tokio::task::spawn_blocking(move || directory::seats_on_disk(&config));
        read.await.map_err(|error| error.to_string())?
    };
    // A node whose facts are not readable may have had a replica of any shard.
    let shards = seats.unwrap_or_else(|| (0..config.shards.count).collect());
    if shards.is_empty() {
        return Ok(());
    }
    let configured = config.cluster_nodes();
    if configured.iter().all(|node| node.node_id == config.node.node_id) {
        return Err(
            "no other node has a copy: restore a backup (docs/backup.md), or copy the folder and ask for help"
                .to_owned(),
        );
    }
    let stopping = CancellationToken::new();
    let (tasks, _panics) = Tasks::new();
    let asked = ask(config, &configured, &shards, patience, &tasks, &stopping).await;
    stopping.cancel();
    if !tasks.finish(ROUND).await {
        tracing::debug!("some connections of the question are still closing");
    }
    asked
}

async fn ask(
    config: &NodeConfig,
    configured: &[PeerSection],
    shards: &BTreeSet<u32>,
    patience: Duration,
    tasks: &Tasks,
    stopping: &CancellationToken,
) -> Result<(), String> {
    let security = Security::start(config, tasks, stopping).map_err(|error| error.to_string())?;
    let identity = Identity {
        cluster_id: config.node.cluster_id.unwrap_or_default(),
        node_id: config.node.node_id,
    };
    let space = Space::new(&config.node.data_dir, &config.storage);
    let peers = Peers::new(identity, security.tls.as_ref(), &space, tasks, stopping);
    peers.set_nodes(configured).map_err(|error| error.to_string())?;
    let transport: Arc<dyn PeerTransport> = Arc::new(peers.clone());
    let give_up = Instant::now() + patience;
    loop {
        let nodes = directory::members_heard(config, configured, &peers).await;
        peers.set_nodes(&nodes).map_err(|error| error.to_string())?;
        let others = nodes.iter().map(|node| node.node_id);
        let others: Vec<ReplicaId> = others
            .filter(|node| *node != identity.node_id)
            .map(ReplicaId::founder)
            .collect();
        let asked = shards.iter().map(|shard| {
            let handle = ShardHandle::elsewhere(*shard, identity.node_id, Arc::clone(&transport));
            handle.set_holders(others.clone());
            async move {
                let query = Query::ListCells {
                    after: None,
                    limit: 1,
                };
                let deadline = Instant::now() + ROUND;
                let answer = handle.query(query, Freshness::Linearizable, deadline).await;
                answer.err().map(|error| format!("shard {shard}: {error}"))
            }
        });
        let silent: Vec<String> = join_all(asked).await.into_iter().flatten().collect();
        if silent.is_empty() {
            return Ok(());
        }
        let silent = silent.join("; ");
        tracing::warn!(
            silent,
            "the others do not answer for every shard without this node"
        );
        if Instant::now() >= give_up {
            return Err(format!(
                "its copy may be needed, for without it the others do not answer for every shard ({silent}). \
                 Start them, and this node again: it replaces its data by itself once they do. \
                 If too many copies are damaged, restore a backup; see cluster/runbooks/damaged-data.md"
            ));
        }
    }
}
