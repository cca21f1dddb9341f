//! Nodes as processes, with a collector in their configuration.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_api::v1;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_api::v1::stock_client::StockClient;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::{Channel, Endpoint};

/// Longest time until a condition comes true; then its test fails. No test waits for it in full otherwise.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Cluster {
    nodes: Vec<Process>,
    folder: tempfile::TempDir,
}

struct Process {
    child: Child,
    ports: [u16; 3],
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cluster {
    /// Starts this many nodes and waits until they are ready. This share of the calls without a trace is
    /// traced.
    pub(crate) async fn start(count: u16, endpoint: &str, trace_per_mille: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = holdfast_test_ports::take(3 * count);
        let ports: Vec<[u16; 3]> = ports.chunks(3).map(|three| three.try_into().unwrap()).collect();
        let peer = |(node_id, [client, peer, _]): (usize, &[u16; 3])| {
            format!(
                "[[peers]]\nnode_id = {node_id}\nclient_address = \"127.0.0.1:{client}\"\npeer_address = \"127.0.0.1:{peer}\"\n"
            )
        };
        let peers: String = (1..).zip(&ports).map(peer).collect();
        let mut nodes = Vec::new();
        for (node_id, ports) in (1..).zip(ports) {
            let [client, peer, http] = ports;
            let config = format!(
                "[node]\nnode_id = {node_id}\ndata_dir = \"data-{node_id}\"\n\
                 [listen]\nclient = \"127.0.0.1:{client}\"\npeer = \"127.0.0.1:{peer}\"\nhttp = \"127.0.0.1:{http}\"\nadmin = \"127.0.0.1:0\"\n\
                 [raft]\nheartbeat = \"100ms\"\nelection_timeout_min = \"600ms\"\nelection_timeout_max = \"1200ms\"\n\
                 [storage]\nlog_segment = \"32MiB\"\nballast = \"0B\"\n\
                 [limits]\ndefault_deadline = \"30s\"\n\
                 [telemetry]\notlp_endpoint = \"{endpoint}\"\ntrace_per_mille = {trace_per_mille}\ntimeout = \"2s\"\n\
                 {peers}"
            );
            let file = format!("node-{node_id}.toml");
            std::fs::write(folder.path().join(&file), config).unwrap();
            let log = std::fs::File::create(folder.path().join(format!("log-{node_id}"))).unwrap();
            let child = Command::new(env!("CARGO_BIN_EXE_holdfast"))
                .args(["serve", "--config", &file])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .stderr(log)
                .spawn()
                .unwrap();
            nodes.push(Process { child, ports });
        }
        let cluster = Self { nodes, folder };
        for index in 0..cluster.nodes.len() {
            eventually(&format!("node {} is ready", index + 1), async || {
                let answer = cluster.get(index, "/readyz").await?;
                answer.starts_with("HTTP/1.1 200").then_some(())
            })
            .await;
        }
        cluster
    }

    /// Returns the answer of a page, with its head, or none while the node does not listen.
    async fn get(&self, index: usize, path: &str) -> Option<String> {
        let address = ("127.0.0.1", self.nodes[index].ports[2]);
        let mut stream = tokio::net::TcpStream::connect(address).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    pub(crate) async fn metrics(&self, index: usize) -> String {
        self.get(index, "/metrics").await.unwrap()
    }

    pub(crate) fn channel(&self, index: usize) -> Channel {
        let address = format!("http://127.0.0.1:{}", self.nodes[index].ports[0]);
        Endpoint::from_shared(address).unwrap().connect_lazy()
    }

    /// Receives stock. Returns the shard that has it.
    pub(crate) async fn receive(&self, sku: &str, quantity: i64) -> u32 {
        let request = v1::ReceiveRequest {
            operation: operation(),
            sku: sku.into(),
            warehouse: "W1".into(),
            supply_id: String::new(),
            quantity,
        };
        // Retries have the same operation id, as those of callers do.
        let receipt = eventually("stock is received", async || {
            let answer = StockClient::new(self.channel(0)).receive(request.clone()).await;
            answer.ok()?.into_inner().receipt
        })
        .await;
        receipt.position.unwrap().shard
    }

    /// Returns a node that does not lead this shard, by its own account.
    pub(crate) async fn follower(&self, shard: u32) -> Option<usize> {
        for index in 0..self.nodes.len() {
            let request = v1::GetTopologyRequest {};
            let topology = ClusterClient::new(self.channel(index))
                .get_topology(request)
                .await
                .ok()?;
            let topology = topology.into_inner();
            let leader = topology.shards[shard as usize].leader_node_id;
            if leader != 0 && leader != topology.node_id {
                return Some(index);
            }
        }
        None
    }

    /// Tells all nodes to stop, and waits until they have.
    pub(crate) async fn stop(mut self) {
        for node in &self.nodes {
            let id = i32::try_from(node.child.id()).unwrap();
            kill(Pid::from_raw(id), Signal::SIGTERM).unwrap();
        }
        for index in 0..self.nodes.len() {
            let began = Instant::now();
            let status = loop {
                if let Some(status) = self.nodes[index].child.try_wait().unwrap() {
                    break status;
                }
                assert!(began.elapsed() < PATIENCE, "node {} does not stop", index + 1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            };
            let log = std::fs::read_to_string(self.folder.path().join(format!("log-{}", index + 1)));
            assert!(status.success(), "node {}: {status}\n{}", index + 1, log.unwrap());
        }
    }
}

/// Tries until it succeeds.
pub(crate) async fn eventually<T>(what: &str, attempt: impl AsyncFn() -> Option<T>) -> T {
    let trying = async {
        loop {
            if let Some(value) = attempt().await {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, trying).await {
        Ok(value) => value,
        Err(_) => panic!("not in time: {what}"),
    }
}

fn operation() -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id: Bytes::copy_from_slice(uuid::Uuid::now_v7().as_bytes()),
        reference: "order-1".into(),
        reason: "test".into(),
        repeats: false,
        ..v1::Operation::default()
    })
}

pub(crate) fn reserve(sku: &str, quantity: i64) -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation: operation(),
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
