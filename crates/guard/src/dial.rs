//! Connections to other nodes.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::tls::Tls;

/// The time to wait for a refused connection. A machine that runs refuses at once.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// Connects to one node. With TLS it shows this node's certificate, and accepts only that node at the other
/// end.
#[derive(Debug, Clone)]
pub struct Dialer {
    tls: Option<Arc<Tls>>,
    node_id: u64,
}

impl Dialer {
    /// Returns a dialer for the node with this id. Without TLS the connections are plaintext.
    pub fn new(tls: Option<Arc<Tls>>, node_id: u64) -> Self {
        Self { tls, node_id }
    }

    /// Returns a channel that connects when it is first used.
    pub fn connect_lazy(&self, endpoint: &Endpoint) -> Channel {
        match self.tls.clone() {
            None => endpoint.connect_lazy(),
            Some(tls) => {
                let node_id = self.node_id;
                endpoint.connect_with_connector_lazy(service_fn(move |uri| {
                    connect(Arc::clone(&tls), node_id, uri)
                }))
            }
        }
    }

    /// Connects, and returns the channel.
    ///
    /// # Errors
    /// The connection fails, or another node answers.
    pub async fn connect(&self, endpoint: &Endpoint) -> Result<Channel, tonic::transport::Error> {
        match self.tls.clone() {
            None => endpoint.connect().await,
            Some(tls) => {
                let node_id = self.node_id;
                let connector = service_fn(move |uri| connect(Arc::clone(&tls), node_id, uri));
                endpoint.connect_with_connector(connector).await
            }
        }
    }
}

/// Returns whether every address of an endpoint refuses a connection. Then its machine runs, but no server
/// listens there. If only some of the addresses refuse, this says nothing about the others.
pub async fn refuses(endpoint: &Endpoint) -> bool {
    let Some(authority) = endpoint.uri().authority() else {
        return false;
    };
    let Ok(addresses) = tokio::net::lookup_host(authority.as_str()).await else {
        return false;
    };
    let mut any = false;
    for address in addresses {
        any = true;
        match tokio::time::timeout(PROBE_TIMEOUT, TcpStream::connect(address)).await {
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            Ok(_) | Err(_) => return false,
        }
    }
    any
}

async fn connect(
    tls: Arc<Tls>,
    node_id: u64,
    uri: tonic::codegen::http::Uri,
) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
    let address = uri.authority().map(ToString::to_string).unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let config = tls.dialing(node_id).map_err(io::Error::other)?;
    let stream = TcpStream::connect(&address).await?;
    stream.set_nodelay(true)?;
    // The name is sent for proxies on the way. The node itself is recognised by its certificate.
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    Ok(TokioIo::new(stream))
}
