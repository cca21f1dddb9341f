//! The surface that operators see: health, readiness, metrics, topology.

use std::net::SocketAddr;

use holdfast_api::reasons;
use holdfast_api::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::*;

pub(crate) async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (code, answer)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_a_quorum_is_alive_and_not_ready() {
    let mut cluster = TestCluster::start().await;
    let http = cluster.node(0).http_address();
    assert_eq!(get(http, "/livez").await.0, 200);
    assert_eq!(get(http, "/readyz").await.0, 200);
    let health = async |service: &str| {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        HealthClient::new(cluster.channel(0))
            .check(request)
            .await
            .unwrap()
            .into_inner()
            .status()
    };
    eventually("health is told", || async {
        (health("holdfast.v1.Reservations").await == ServingStatus::Serving).then_some(())
    })
    .await;
    assert_eq!(health("").await, ServingStatus::Serving);

    cluster.stop(1).await;
    cluster.stop(2).await;
    eventually("node 1 knows that it has no leader", || async {
        (get(http, "/readyz").await.0 == 503).then_some(())
    })
    .await;
    assert_eq!(get(http, "/livez").await.0, 200);
    // Nothing can be decided. The caller learns before its own deadline that it may retry.
    let mut request = tonic::Request::new(reserve(&id(), "A", 1));
    request.set_timeout(std::time::Duration::from_secs(2));
    let status = cluster.reservations(0).reserve(request).await.unwrap_err();
    assert!(reasons::consequences_of(reason(&status)).retryable, "{status:?}");
    let health = HealthClient::new(cluster.channel(0));
    eventually("health says so", || async {
        let request = HealthCheckRequest {
            service: String::new(),
        };
        let status = health.clone().check(request).await.unwrap().into_inner().status();
        (status == ServingStatus::NotServing).then_some(())
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_tell_calls_refusals_replays_and_replicas() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "A", 1).await;
    let reservation = id();
    for _ in 0..2 {
        cluster
            .reservations(0)
            .reserve(reserve(&reservation, "A", 1))
            .await
            .unwrap();
    }
    cluster
        .reservations(0)
        .reserve(reserve(&id(), "A", 1))
        .await
        .unwrap_err();
    let (code, text) = get(cluster.node(0).http_address(), "/metrics").await;
    assert_eq!(code, 200);
    for line in [
        "holdfast_calls_total{method=\"Reserve\",code=\"OK\"} 2",
        "holdfast_calls_total{method=\"Reserve\",code=\"FAILED_PRECONDITION\"} 1",
        "holdfast_call_duration_seconds_count{method=\"Reserve\"} 3",
        "holdfast_calls_under_way{method=\"Reserve\"} 0",
        "holdfast_refusals_total{reason=\"REASON_INSUFFICIENT_STOCK\"} 1",
        "holdfast_replays_total 1",
        "holdfast_replica_cells{shard=\"",
        "holdfast_replica_role{shard=\"0\",role=\"",
        "# EOF",
    ] {
        assert!(text.contains(line), "`{line}` is missing in:\n{text}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_topology_names_all_and_leadership_can_be_handed_over_through_any_node() {
    let cluster = TestCluster::start().await;
    let topology = eventually("all nodes are heard from", || async {
        let topology = cluster.topology(1).await;
        topology
            .nodes
            .iter()
            .all(|node| node.reachable)
            .then_some(topology)
    })
    .await;
    assert_eq!(
        (
            topology.node_id,
            topology.nodes.len(),
            topology.shards.len(),
            topology.slots
        ),
        (2, 3, 4, 4096)
    );
    assert_eq!(topology.cluster_id.as_ref(), uuid::Uuid::from_u128(7).as_bytes());
    assert_eq!(
        (topology.shards[3].first_slot, topology.shards[3].last_slot),
        (3072, 4095)
    );

    for (node, index) in topology.nodes.iter().zip(0..) {
        assert_eq!(
            node.admin_address,
            cluster.node(index).admin_address().to_string()
        );
    }
    for index in 0..3 {
        let leader = eventually("shard 0 has a leader", || async {
            Some(cluster.topology(index).await.shards[0].leader_node_id).filter(|leader| *leader != 0)
        })
        .await;
        let to_node_id = leader % 3 + 1;
        let request = v1::TransferLeaderRequest { shard: 0, to_node_id };
        let led = retried(|| {
            let mut client = cluster.admin(index);
            async move { client.transfer_leader(request).await }
        })
        .await
        .unwrap();
        assert_eq!(led.leader_node_id, to_node_id);
    }
    let status = cluster
        .cluster(0)
        .get_node_status(v1::GetNodeStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!((status.node_id, status.replicas.len()), (1, 4));
    assert!(status.wall_clock_ms > 1_700_000_000_000);
    cluster.stop_all().await;
}
