//! Starting and stopping one node.

use std::net::SocketAddr;

use crate::NodeConfig;

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot work.
    #[error(transparent)]
    Config(#[from] crate::ConfigError),
}

/// Why a node did not stop cleanly. Nothing acknowledged is lost: the log was synced before each answer.
#[derive(Debug, thiserror::Error)]
#[error("the node did not stop cleanly: {0}")]
pub struct StopError(pub String);

/// A running node.
pub struct Node {
    client_address: SocketAddr,
    peer_address: SocketAddr,
    http_address: SocketAddr,
}

#[allow(clippy::todo, unused)]
impl Node {
    /// Starts a node in the current tokio runtime and returns when it listens. It is ready a moment later: see
    /// [`Node::ready`].
    ///
    /// # Errors
    /// [`StartError`] says what stands in the way: the configuration, a port, the data folder.
    pub async fn start(config: NodeConfig) -> Result<Node, StartError> {
        todo!()
    }

    /// Where clients reach it.
    pub fn client_address(&self) -> SocketAddr {
        self.client_address
    }

    /// Where the other nodes reach it.
    pub fn peer_address(&self) -> SocketAddr {
        self.peer_address
    }

    /// Where `/metrics`, `/livez` and `/readyz` are.
    pub fn http_address(&self) -> SocketAddr {
        self.http_address
    }

    /// Is every replica caught up, and does every shard have a leader?
    pub fn is_ready(&self) -> bool {
        todo!()
    }

    /// Waits until [`Node::is_ready`].
    pub async fn ready(&self) {
        todo!()
    }

    /// Waits until the node must not go on (a replica died, the log failed), and says why. Stop the process then.
    pub async fn fatal(&self) -> String {
        todo!()
    }

    /// Stops gracefully: no longer ready, leads nothing, finishes what it has taken, closes shards and log.
    ///
    /// # Errors
    /// [`StopError`] when something did not end in time or the log could not be closed.
    pub async fn stop(self) -> Result<(), StopError> {
        todo!()
    }
}
