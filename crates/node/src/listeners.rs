//! The ports of a node.

use std::net::{SocketAddr, TcpListener};

use crate::NodeConfig;
use crate::start_error::StartError;

/// The bound ports of a node.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) client: TcpListener,
    pub(crate) admin: TcpListener,
    pub(crate) peer: TcpListener,
    pub(crate) http: TcpListener,
}

fn bind(key: &'static str, address: &str) -> Result<TcpListener, StartError> {
    let error = |source| StartError::Listen {
        key,
        address: address.to_owned(),
        source,
    };
    let listener = TcpListener::bind(address).map_err(error)?;
    listener.set_nonblocking(true).map_err(error)?;
    Ok(listener)
}

fn address_of(key: &'static str, listener: &TcpListener) -> Result<SocketAddr, StartError> {
    listener.local_addr().map_err(|source| StartError::Listen {
        key,
        address: String::new(),
        source,
    })
}

impl Listeners {
    /// Binds the ports that the configuration names.
    pub(crate) fn bind(config: &NodeConfig) -> Result<Self, StartError> {
        Ok(Self {
            client: bind("listen.client", &config.listen.client)?,
            admin: bind("listen.admin", &config.listen.admin)?,
            peer: bind("listen.peer", &config.listen.peer)?,
            http: bind("listen.http", &config.listen.http)?,
        })
    }

    /// Returns the address for clients.
    pub(crate) fn client_address(&self) -> Result<SocketAddr, StartError> {
        address_of("listen.client", &self.client)
    }

    /// Returns the address for operators.
    pub(crate) fn admin_address(&self) -> Result<SocketAddr, StartError> {
        address_of("listen.admin", &self.admin)
    }

    /// Returns the address for the other nodes.
    pub(crate) fn peer_address(&self) -> Result<SocketAddr, StartError> {
        address_of("listen.peer", &self.peer)
    }

    pub(crate) fn http_address(&self) -> Result<SocketAddr, StartError> {
        address_of("listen.http", &self.http)
    }
}
