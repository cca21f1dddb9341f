//! Limits on how much a caller may ask for, and on who sees the contract of the services.

use holdfast_api::v1::Reason;
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::*;

/// Asks for the list of services through gRPC reflection.
async fn reflect(channel: Channel) -> Result<(), Status> {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::{ServerReflectionRequest, server_reflection_request::MessageRequest};
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut client = ServerReflectionClient::new(channel);
    let mut answers = client
        .server_reflection_info(tokio_stream::iter([request]))
        .await?
        .into_inner();
    answers.message().await.map(drop)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_is_shown_only_where_that_was_asked_for() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let clients = |cluster: &TestCluster| reflect(cluster.channel(0));
    let operators = |cluster: &TestCluster| reflect(cluster.channel_to(cluster.node(0).admin_address()));
    let unknown = |answer: Result<(), Status>| assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    unknown(clients(&cluster).await);
    unknown(operators(&cluster).await);
    cluster.stop_all().await;
    let cluster = TestCluster::start_with(1, |config| config.security.reflection = true).await;
    unknown(clients(&cluster).await);
    operators(&cluster).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_more_than_its_limit_is_told_how_long_to_wait() {
    let cluster = TestCluster::start_with(1, |config| config.limits.principal_requests_per_second = 2).await;
    let refused = eventually("the limit is reached", || async {
        cluster
            .reservations(0)
            .reserve(reserve(&id(), "A", 0))
            .await
            .err()
            .filter(|status| reason(status) == Reason::Overloaded)
    })
    .await;
    let refusal = holdfast_api::reasons::refusal_in(&refused).unwrap();
    assert!((1..=1_001).contains(&refusal.retry_after_ms), "{refusal:?}");
    let metrics = crate::surface::get(cluster.node(0).http_address(), "/metrics")
        .await
        .1;
    assert!(!metrics.contains("holdfast_rate_limited_total 0"), "{metrics}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_closed_and_places_come_free_again() {
    use tokio::io::AsyncReadExt as _;
    let cluster = TestCluster::start_with(1, |config| config.limits.connections = Some(2)).await;
    let address = cluster.node(0).client_address();
    let connect = || async { tokio::net::TcpStream::connect(address).await.unwrap() };
    let (first, _second) = (connect().await, connect().await);
    let mut third = connect().await;
    let mut nothing = [0; 1];
    let ended = within_patience("the third is closed", third.read(&mut nothing)).await;
    assert!(matches!(ended, Ok(0) | Err(_)), "{ended:?}");
    drop(first);
    eventually("a place is free", || async {
        let mut client = cluster.cluster(0);
        client
            .get_topology(holdfast_api::v1::GetTopologyRequest {})
            .await
            .ok()
    })
    .await;
    let metrics = crate::surface::get(cluster.node(0).http_address(), "/metrics")
        .await
        .1;
    assert!(
        metrics
            .contains("holdfast_handshakes_refused_total{port=\"client\",reason=\"too_many_connections\"}"),
        "{metrics}"
    );
    cluster.stop_all().await;
}
