//! A cluster of three nodes in one process. They speak real gRPC over loopback.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_api::v1::admin_client::AdminClient;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_api::v1::history_client::HistoryClient;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_api::v1::stock_client::StockClient;
use holdfast_api::v1::transfers_client::TransfersClient;
use holdfast_node::config::{ByteSize, NodeSection, PeerSection, TimeSpan};
use holdfast_node::{Node, NodeConfig};
use tonic::Status;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

/// How long a condition may take to come true before its test fails. A test that passes never waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct TestCluster {
    pub(crate) nodes: Vec<Option<Node>>,
    configs: Vec<NodeConfig>,
    /// The TLS with which the test connects to the nodes; `None` for plaintext.
    pub(crate) client_tls: Option<ClientTlsConfig>,
    folder: tempfile::TempDir,
}

impl TestCluster {
    /// Starts three nodes, and waits until they are ready.
    pub(crate) async fn start() -> Self {
        Self::start_with(3, |_| {}).await
    }

    pub(crate) async fn start_with(count: u64, change: impl Fn(&mut NodeConfig)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let own = |node_id| {
            let mut config = small_config(node_id, folder.path());
            change(&mut config);
            config
        };
        let mut configs: Vec<NodeConfig> = (1..=count).map(own).collect();
        let peers: Vec<PeerSection> = configs.iter().map(section).collect();
        let mut nodes = Vec::new();
        for config in &mut configs {
            config.peers.clone_from(&peers);
            nodes.push(Some(Node::start(config.clone()).await.unwrap()));
        }
        let cluster = Self {
            nodes,
            configs,
            client_tls: None,
            folder,
        };
        cluster.ready().await;
        cluster
    }

    /// Starts one more node, which knows the others and waits to be added. Returns its index.
    pub(crate) async fn start_newcomer(&mut self) -> usize {
        let node_id = self.configs.len() as u64 + 1;
        let mut config = small_config(node_id, self.folder.path());
        config.shards = self.configs[0].shards.clone();
        config.peers = self.configs[0].peers.clone();
        config.peers.push(section(&config));
        self.nodes.push(Some(Node::start(config.clone()).await.unwrap()));
        self.configs.push(config);
        self.nodes.len() - 1
    }

    /// Starts a node with the number of another node, an empty data folder and addresses of its own.
    pub(crate) async fn start_impostor_of(&self, index: usize) -> Node {
        let node_id = self.configs[index].node.node_id;
        let mut config = small_config(node_id, &self.folder.path().join(format!("impostor-{node_id}")));
        config.shards = self.configs[index].shards.clone();
        config.peers.clone_from(&self.configs[index].peers);
        config.peers[index] = section(&config);
        Node::start(config).await.unwrap()
    }

    /// Removes the data folder of a node that does not run.
    pub(crate) fn wipe(&self, index: usize) {
        assert!(self.nodes[index].is_none(), "the node runs");
        std::fs::remove_dir_all(&self.configs[index].node.data_dir).unwrap();
    }

    /// Waits until all running nodes are ready.
    pub(crate) async fn ready(&self) {
        for node in self.nodes.iter().flatten() {
            within_patience("the node is ready", node.ready()).await;
        }
    }

    pub(crate) fn config(&self, index: usize) -> NodeConfig {
        self.configs[index].clone()
    }

    pub(crate) fn node(&self, index: usize) -> &Node {
        self.nodes[index].as_ref().expect("the node runs")
    }

    pub(crate) async fn stop(&mut self, index: usize) {
        let node = self.nodes[index].take().expect("the node runs");
        within_patience("the node stops", node.stop()).await.unwrap();
    }

    pub(crate) async fn stop_all(mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].is_some() {
                self.stop(index).await;
            }
        }
    }

    pub(crate) async fn start_again(&mut self, index: usize) {
        self.nodes[index] = Some(Node::start(self.configs[index].clone()).await.unwrap());
    }

    pub(crate) fn channel(&self, index: usize) -> Channel {
        self.channel_to(self.node(index).client_address())
    }

    /// Returns the address of a node's admin port.
    pub(crate) fn admin(&self, index: usize) -> AdminClient<Channel> {
        AdminClient::new(self.channel_to(self.node(index).admin_address()))
    }

    pub(crate) fn channel_to(&self, address: SocketAddr) -> Channel {
        match &self.client_tls {
            None => endpoint(&format!("http://{address}")).connect_lazy(),
            Some(tls) => endpoint(&format!("https://{address}"))
                .tls_config(tls.clone())
                .unwrap()
                .connect_lazy(),
        }
    }

    pub(crate) fn reservations(&self, index: usize) -> ReservationsClient<Channel> {
        ReservationsClient::new(self.channel(index))
    }

    pub(crate) fn stock(&self, index: usize) -> StockClient<Channel> {
        StockClient::new(self.channel(index))
    }

    pub(crate) fn transfers(&self, index: usize) -> TransfersClient<Channel> {
        TransfersClient::new(self.channel(index))
    }

    pub(crate) fn changes(&self, index: usize) -> ChangesClient<Channel> {
        ChangesClient::new(self.channel(index))
    }

    pub(crate) fn history(&self, index: usize) -> HistoryClient<Channel> {
        HistoryClient::new(self.channel(index))
    }

    pub(crate) fn cluster(&self, index: usize) -> ClusterClient<Channel> {
        ClusterClient::new(self.channel(index))
    }

    pub(crate) async fn receive(&self, index: usize, sku: &str, quantity: i64) -> v1::StockResponse {
        let request = v1::ReceiveRequest {
            operation: operation(),
            sku: sku.into(),
            warehouse: "W1".into(),
            supply_id: String::new(),
            quantity,
        };
        self.stock(index).receive(request).await.unwrap().into_inner()
    }

    pub(crate) async fn cell(&self, index: usize, sku: &str) -> v1::Cell {
        let request = v1::GetStockRequest {
            sku: sku.into(),
            ..Default::default()
        };
        self.stock(index)
            .get_stock(request)
            .await
            .unwrap()
            .into_inner()
            .cells
            .remove(0)
    }

    pub(crate) async fn topology(&self, index: usize) -> v1::GetTopologyResponse {
        self.cluster(index)
            .get_topology(v1::GetTopologyRequest {})
            .await
            .unwrap()
            .into_inner()
    }

    /// Returns all changes of a shard, as this node serves them.
    pub(crate) async fn all_changes(&self, index: usize, shard: u32) -> Vec<v1::Change> {
        let request = v1::TailChangesRequest {
            shard,
            ..Default::default()
        };
        let mut stream = self
            .changes(index)
            .tail_changes(request)
            .await
            .unwrap()
            .into_inner();
        let mut changes = Vec::new();
        while let Some(message) = stream.message().await.unwrap() {
            changes.extend(message.changes);
        }
        changes
    }
}

/// Returns the addresses of a node on its bound ports.
fn section(config: &NodeConfig) -> PeerSection {
    PeerSection {
        node_id: config.node.node_id,
        client_address: config.listen.client.clone(),
        peer_address: config.listen.peer.clone(),
        admin_address: Some(config.listen.admin.clone()),
    }
}

fn small_config(node_id: u64, folder: &std::path::Path) -> NodeConfig {
    let mut config = NodeConfig {
        node: NodeSection {
            node_id,
            cluster_id: Some(uuid::Uuid::from_u128(7)),
            data_dir: folder.join(format!("node-{node_id}")),
            threads: None,
            zone: String::new(),
        },
        ..NodeConfig::default()
    };
    let ports = holdfast_test_ports::take(4);
    let listen = &mut config.listen;
    let addresses = [
        &mut listen.client,
        &mut listen.peer,
        &mut listen.http,
        &mut listen.admin,
    ];
    for (address, port) in addresses.into_iter().zip(ports) {
        *address = format!("127.0.0.1:{port}");
    }
    // Three nodes share this machine with other tests. A thread that waits for a core must not cause an
    // election.
    config.raft.heartbeat = TimeSpan::from_millis(100);
    config.raft.election_timeout_min = TimeSpan::from_millis(600);
    config.raft.election_timeout_max = TimeSpan::from_millis(1_200);
    config.storage.log_segment = ByteSize::mib(32);
    config.storage.ballast = Some(ByteSize::new(0));
    config.limits.default_deadline = TimeSpan::from_secs(30);
    config
}

pub(crate) fn endpoint(address: &str) -> Endpoint {
    Endpoint::from_shared(address.to_owned())
        .unwrap()
        .tcp_nodelay(true)
}

pub(crate) async fn within_patience<T>(what: &str, condition: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, condition).await {
        Ok(value) => value,
        Err(_) => panic!("not in time: {what}"),
    }
}

/// Repeats an attempt until it succeeds.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, attempt: impl Fn() -> F) -> T {
    within_patience(what, async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

pub(crate) fn id() -> Bytes {
    Bytes::copy_from_slice(uuid::Uuid::now_v7().as_bytes())
}

pub(crate) fn operation() -> Option<v1::Operation> {
    operation_with(id())
}

pub(crate) fn operation_with(operation_id: Bytes) -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id,
        reference: "order-1".into(),
        reason: "test".into(),
        repeats: false,
        ..v1::Operation::default()
    })
}

pub(crate) fn key(reservation_id: &Bytes) -> Option<v1::ReservationKey> {
    Some(v1::ReservationKey {
        reservation_id: reservation_id.clone(),
        shard: None,
    })
}

pub(crate) fn reserve(operation_id: &Bytes, sku: &str, quantity: i64) -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation: operation_with(operation_id.clone()),
        storefront: "web".into(),
        lines: vec![v1::ReserveLine {
            sku: sku.into(),
            quantity,
            source: None,
        }],
        sourcing: 0,
        ttl_ms: 600_000,
        mode: v1::ReserveMode::AllOrNothing.into(),
        ..v1::ReserveRequest::default()
    }
}

/// Returns the reason of a refused call.
pub(crate) fn reason(status: &Status) -> v1::Reason {
    match reasons::refusal_in(status) {
        Some(refusal) => refusal.reason(),
        None => panic!("no refusal in {status:?}"),
    }
}

/// Retries, with the same operation id, calls that had no effect or may have had none, as a client does.
pub(crate) async fn retried<T, F: Future<Output = Result<tonic::Response<T>, Status>>>(
    call: impl Fn() -> F,
) -> Result<T, Status> {
    within_patience("the call is decided", async {
        loop {
            match call().await {
                Ok(response) => return Ok(response.into_inner()),
                Err(status) => match reasons::refusal_in(&status) {
                    Some(refusal) if !reasons::consequences_of(refusal.reason()).retryable => {
                        return Err(status);
                    }
                    _ => tokio::time::sleep(Duration::from_millis(20)).await,
                },
            }
        }
    })
    .await
}
