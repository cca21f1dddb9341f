//! Connections that make no calls, and streams that nobody reads.

use holdfast_api::v1::{self, Reason};
use holdfast_node::config::TimeSpan;
use prost::Message as _;
use tokio::io::AsyncReadExt as _;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_a_call_is_closed_and_one_that_called_stays() {
    let cluster =
        TestCluster::start_with(1, |config| config.limits.first_call = TimeSpan::from_secs(1)).await;
    let address = cluster.node(0).client_address();
    let mut useful = Rude::connect(address, 65_535).await;
    let call = useful.call(BATCH).await;
    let silent = Rude::connect(address, 65_535).await;
    // The library sees the connection end, in one way or another.
    let _ = within_patience("the silent connection is closed", silent.ended).await;
    let closed = "holdfast_connections_closed_total{port=\"client\",reason=\"silent\"}";
    assert_eq!(sample(&cluster, closed).await, 1.0);
    assert!(!useful.ended.is_finished());
    drop(call);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_begin_to_speak_is_closed() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let mut mute = TcpStream::connect(cluster.node(0).client_address())
        .await
        .unwrap();
    let ended = within_patience("the mute connection is closed", mute.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
    let closed = "holdfast_connections_closed_total{port=\"client\",reason=\"mute\"}";
    assert_eq!(sample(&cluster, closed).await, 1.0);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_stream_that_is_not_read_ends_and_its_place_comes_free() {
    let cluster = TestCluster::start_with(1, |config| {
        config.shards.count = 1;
        config.limits.change_streams = 1;
        config.limits.unread = TimeSpan::from_secs(1);
    })
    .await;
    for _ in 0..200 {
        cluster.receive(0, "A", 1).await;
    }
    let request = v1::TailChangesRequest {
        from_seq: 1,
        follow: true,
        ..Default::default()
    };
    let mut rude = Rude::connect(cluster.node(0).client_address(), 1).await;
    let mut call = rude.call(TAIL).await;
    call.send(framed(&request.encode_to_vec()), true);
    let begun = within_patience("the stream begins", call.answer).await.unwrap();
    let refused = cluster
        .changes(0)
        .tail_changes(request.clone())
        .await
        .unwrap_err();
    assert_eq!(reason(&refused), Reason::Overloaded);
    eventually("the place is free", || async {
        cluster.receive(0, "A", 1).await;
        cluster.changes(0).tail_changes(request.clone()).await.ok()
    })
    .await;
    drop(begun);
    cluster.stop_all().await;
}
