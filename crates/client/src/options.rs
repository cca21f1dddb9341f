//! The options of a client: where the cluster is, and how long to try.

use std::time::Duration;

use crate::ClientTls;

/// The address of the cluster, and how long a call tries.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// Addresses of some nodes, at least one, as `http://host:port`, or as `https://host:port` with
    /// [`ClientOptions::tls`]. The client learns the other addresses from these nodes.
    pub endpoints: Vec<String>,
    /// Certificates, if the cluster requires them. Every connection is then TLS, including those to learnt
    /// nodes.
    pub tls: Option<ClientTls>,
    /// How long one call may take, with all its retries.
    pub deadline: Duration,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long one attempt may wait for its answer. After that the call is tried elsewhere with the same
    /// operation id.
    pub attempt_timeout: Duration,
    /// The first pause between two attempts; it doubles from there, with jitter.
    pub backoff_min: Duration,
    /// The longest pause between two attempts.
    pub backoff_max: Duration,
    /// How long the topology is used before it is asked for again.
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
    /// Makes default options for these endpoints.
    pub fn new<E: Into<String>>(endpoints: impl IntoIterator<Item = E>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }
}
