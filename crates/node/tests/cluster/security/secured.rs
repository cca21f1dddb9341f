//! Clusters with mutual TLS, and their audit of refused callers.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex};

use holdfast_api::v1;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_node::NodeConfig;
use holdfast_node::config::TimeSpan;
use tonic::Status;
use tonic::transport::ClientTlsConfig;

use super::authority::{Authority, Credentials, client_tls};
use crate::support::*;

/// A cluster whose nodes have certificates of one CA, and its clients certificates of another.
pub(crate) struct Secured {
    pub(crate) cluster: TestCluster,
    pub(crate) nodes_ca: Authority,
    pub(crate) clients_ca: Authority,
    pub(crate) folder: tempfile::TempDir,
}

impl Secured {
    pub(crate) async fn start(count: u64) -> Self {
        Self::start_with(count, |_, _| {}).await
    }

    pub(crate) async fn start_with(count: u64, change: impl Fn(&mut NodeConfig, &Path)) -> Self {
        LazyLock::force(&AUDIT);
        let (nodes_ca, clients_ca) = (Authority::new("nodes"), Authority::new("clients"));
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("clients.pem"), clients_ca.pem()).unwrap();
        std::fs::write(folder.path().join("nodes.pem"), nodes_ca.pem()).unwrap();
        for node_id in 1..=count {
            write(folder.path(), node_id, &nodes_ca.certify_node(node_id));
        }
        let mut cluster = TestCluster::start_with(count, |config| {
            let path = |name: String| Some(folder.path().join(name));
            config.tls.certificate = path(format!("node-{}.pem", config.node.node_id));
            config.tls.key = path(format!("node-{}.key", config.node.node_id));
            config.tls.client_ca = path("clients.pem".to_owned());
            config.tls.peer_ca = path("nodes.pem".to_owned());
            // The tests read the metrics without TLS; loopback needs no flag for that.
            config.tls.http = false;
            config.security.reload_interval = TimeSpan::from_millis(100);
            change(config, folder.path());
        })
        .await;
        let tester = clients_ca.certify("spiffe://shop/tester");
        cluster.client_tls = Some(client_tls(&nodes_ca, Some(&tester)));
        Self {
            cluster,
            nodes_ca,
            clients_ca,
            folder,
        }
    }

    /// Returns the TLS of a client that shows this certificate.
    pub(crate) fn showing(&self, shown: &Credentials) -> ClientTlsConfig {
        client_tls(&self.nodes_ca, Some(shown))
    }

    /// Asks the first node for the topology, on a connection of its own.
    pub(crate) async fn ask(&self, tls: ClientTlsConfig) -> Result<u64, Status> {
        ask_at(self.cluster.node(0).client_address(), tls).await
    }

    pub(crate) async fn metrics(&self) -> String {
        crate::surface::get(self.cluster.node(0).http_address(), "/metrics")
            .await
            .1
    }

    /// Waits for a line of the metrics.
    pub(crate) async fn counted(&self, line: &str) {
        eventually(line, || async {
            self.metrics().await.contains(line).then_some(())
        })
        .await;
    }
}

/// Asks the node at this address for the topology.
pub(crate) async fn ask_at(address: SocketAddr, tls: ClientTlsConfig) -> Result<u64, Status> {
    let channel = endpoint(&format!("https://{address}"))
        .tls_config(tls)
        .unwrap()
        .connect_lazy();
    let asked = ClusterClient::new(channel)
        .get_topology(v1::GetTopologyRequest {})
        .await;
    asked.map(|answer| answer.into_inner().node_id)
}

/// Checks that no service answered because the connection was refused earlier.
pub(crate) fn shut_out(asked: Result<u64, Status>) {
    let status = asked.expect_err("must be shut out");
    // Only an error that this side's transport made has a source.
    assert!(std::error::Error::source(&status).is_some(), "{status:?}");
}

pub(crate) fn write(folder: &Path, node_id: u64, credentials: &Credentials) {
    std::fs::write(folder.join(format!("node-{node_id}.key")), &credentials.key).unwrap();
    std::fs::write(
        folder.join(format!("node-{node_id}.pem")),
        &credentials.certificate,
    )
    .unwrap();
}

/// The audit lines of all nodes of all tests of this process.
static AUDIT: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_env_filter("audit=info")
        .with_writer(move || writer.clone())
        .json()
        .flatten_event(true)
        .init();
    lines
});

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for an audit line with all of these fields.
pub(crate) async fn audited(fields: &[(&str, &str)]) -> serde_json::Value {
    audited_where(&format!("an audit line with {fields:?}"), |line| {
        fields.iter().all(|(key, value)| line[*key] == *value)
    })
    .await
}

/// Waits for an audit line that is `right`.
pub(crate) async fn audited_where(
    what: &str,
    right: impl Fn(&serde_json::Value) -> bool,
) -> serde_json::Value {
    eventually(what, || async {
        let written = AUDIT.0.lock().unwrap().clone();
        let written = String::from_utf8(written).unwrap();
        written
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .find(&right)
    })
    .await
}
