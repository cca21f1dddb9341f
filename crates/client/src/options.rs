//! Where the cluster is, and how long to try.

use std::time::Duration;

use crate::ClientTls;

/// Where the cluster is, and how long to try.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Addresses of some nodes, as `http://host:port`, or `https://host:port` with [`ClientOptions::tls`]: at least one. The
    /// others are learnt from them.
    pub endpoints: Vec<String>,
    /// Certificates, where the cluster wants them. Every connection is TLS then, those to learnt nodes too.
    pub tls: Option<ClientTls>,
    /// How long one call may take, with all its retries.
    pub deadline: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long one attempt may wait for its answer before the call is tried elsewhere with the same operation id.
    pub attempt_timeout: Duration,
    /// The first pause between two attempts; it doubles from there, with jitter.
    pub backoff_min: Duration,
    /// The longest pause between two attempts.
    pub backoff_max: Duration,
    /// How long the topology is believed before it is asked for again.
    pub topology_max_age: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            tls: None,
            deadline: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_secs(3),
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(500),
            topology_max_age: Duration::from_secs(30),
        }
    }
}

impl ClientOptions {
    /// Default options for these endpoints.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}
