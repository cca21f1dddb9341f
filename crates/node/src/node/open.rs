//! The first step of a start: opens what is on this machine.

use std::net::SocketAddr;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::begun::Begun;
use crate::NodeConfig;
use crate::config::PeerSection;
use crate::listeners::Listeners;
use crate::own_thread::OwnThread;
use crate::peers::{Identity, Peers};
use crate::security::Security;
use crate::start_error::StartError;
use crate::stores::{self, Stores};
use crate::tasks::Tasks;

/// The parts of a node that need no other node.
pub(super) struct Opened {
    pub(super) config: NodeConfig,
    pub(super) identity: Identity,
    pub(super) listeners: Listeners,
    pub(super) security: Security,
    pub(super) stores: Stores,
    pub(super) peers: Peers,
    /// The nodes of the configuration, with the ports that were bound.
    pub(super) nodes: Vec<PeerSection>,
    pub(super) tasks: Tasks,
    /// Receives a sentence for each task that panics.
    pub(super) panics: mpsc::UnboundedReceiver<String>,
    /// The thread that handles calls of other nodes, so that callers cannot slow them down. None when one
    /// thread does everything.
    pub(super) peers_thread: Option<OwnThread>,
}

impl Opened {
    /// Returns the runtime that handles calls of other nodes.
    pub(super) fn heard_on(&self) -> Handle {
        let own = self.peers_thread.as_ref().and_then(OwnThread::handle);
        own.unwrap_or_else(Handle::current)
    }
}

/// Binds the ports, reads certificates and access policy, and opens the data folder.
pub(super) async fn open(config: NodeConfig, begun: &mut Begun) -> Result<Opened, StartError> {
    let listeners = Listeners::bind(&config)?;
    let identity = Identity {
        cluster_id: config.node.cluster_id.unwrap_or_default(),
        node_id: config.node.node_id,
    };
    let nodes = nodes_with_ports(&config, &listeners)?;
    let (tasks, panics) = Tasks::new();
    let security = Security::start(&config, &tasks, &begun.peers_stopping)?;
    let stores = stores::open(&config).await?;
    begun.log = Some(stores.log.clone());
    // With one thread for everything, that thread handles the calls of other nodes too. Large requests have a
    // thread of their own in both cases.
    let peers_thread = match config.has_one_thread() {
        true => None,
        false => Some(OwnThread::start("peers").map_err(no_thread)?),
    };
    let heard_on = peers_thread.as_ref().and_then(OwnThread::handle);
    let peers = Peers::new(
        identity,
        security.tls.as_ref(),
        &stores.space,
        &tasks,
        &begun.peers_stopping,
    );
    Ok(Opened {
        peers: peers.running_on(heard_on.unwrap_or_else(Handle::current)),
        config,
        identity,
        listeners,
        security,
        stores,
        nodes,
        tasks,
        panics,
        peers_thread,
    })
}

/// Returns the nodes of the configuration. This node's own entry may name port 0: the bound port replaces it.
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

pub(super) fn no_thread(error: std::io::Error) -> StartError {
    StartError::Server {
        server: "peer",
        message: format!("the system gives no thread: {error}"),
    }
}
