//! Limits on bytes, on fields, and on the time of a message.

use holdfast_api::v1::{self, Reason};
use holdfast_node::config::{ByteSize, TimeSpan};
use prost::Message as _;
use tonic::Code;

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_is_only_announced_counts_for_its_call_and_not_for_its_length() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    let mut calls = Vec::new();
    for _ in 0..1_000 {
        let mut call = rude.call(RESERVE).await;
        call.send(announced(4 << 20), false);
        calls.push(call);
    }
    eventually("the node has all calls", || async {
        (sample(&cluster, "holdfast_caller_taken_bytes").await >= 1_000.0 * f64::from(16 << 10)).then_some(())
    })
    .await;
    let taken = sample(&cluster, "holdfast_caller_taken_bytes").await;
    assert!(taken < 1_000.0 * f64::from(18 << 10), "{taken}");
    // Another connection is served meanwhile.
    cluster.receive(0, "A", 1).await;
    drop((calls, rude));
    eventually("nothing is taken any more", || async {
        (sample(&cluster, "holdfast_caller_taken_bytes").await < f64::from(64 << 10)).then_some(())
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_sends_more_than_its_part_is_refused_and_told_to_wait() {
    let cluster = TestCluster::start_with(1, |config| config.limits.caller_budget = ByteSize::mib(128)).await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    let mut calls = Vec::new();
    for _ in 0..8 {
        let mut call = rude.call(RESERVE).await;
        call.send(announced(4 << 20), false);
        // A field of bytes that no message knows, without its last byte.
        let mut field = vec![0xa2, 0x06, 0xfa, 0xff, 0xff, 0x01];
        field.resize((4 << 20) - 1, 0);
        call.send(field.into(), false);
        calls.push(call);
    }
    let mut pending: futures::stream::FuturesUnordered<_> =
        calls.into_iter().map(super::Call::refusal).collect();
    let first = futures::StreamExt::next(&mut pending).await.unwrap();
    let (status, refusal) = first;
    assert_eq!(
        (status.code(), refusal.reason()),
        (Code::ResourceExhausted, Reason::Overloaded)
    );
    assert!(
        refusal.retry_after_ms > 0 && refusal.message.contains("connection"),
        "{refusal:?}"
    );
    let refused = "holdfast_intake_refusals_total{limit=\"connection_bytes\"}";
    assert!(sample(&cluster, refused).await >= 1.0);
    assert!(sample(&cluster, "holdfast_caller_taken_bytes").await <= f64::from(32 << 20));
    // Other callers have a share of their own.
    cluster.receive(0, "A", 1).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_messages_that_come_faster_than_their_pace_wait_and_small_ones_do_not() {
    let cluster = TestCluster::start_with(1, |config| {
        config.limits.large_messages_per_second = ByteSize::mib(1);
        config.limits.receive = TimeSpan::from_millis(1_500);
    })
    .await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    // A caller may send half a MiB a second, and as much again at once: too little for this message in its
    // time.
    let mut large = rude.call(RESERVE).await;
    large.send(announced(4 << 20), false);
    let mut field = vec![0xa2, 0x06, 0xfa, 0xff, 0xff, 0x01];
    field.resize(4 << 20, 0);
    large.send(field.into(), true);
    let mut small = rude.call(RESERVE).await;
    small.send(framed(&reserve(&id(), "A", 1).encode_to_vec()), true);
    let (_, refusal) = small.refusal().await;
    assert_ne!(refusal.reason(), Reason::Overloaded, "{refusal:?}");
    let (status, refusal) = large.refusal().await;
    assert_eq!(
        (status.code(), refusal.reason()),
        (Code::ResourceExhausted, Reason::Overloaded)
    );
    // Another attempt with the same id may have arrived whole.
    assert!(
        !refusal.settled && refusal.message.contains("large_messages_per_second"),
        "{refusal:?}"
    );
    let refused = "holdfast_intake_refusals_total{limit=\"large_message_bytes\"}";
    assert_eq!(sample(&cluster, refused).await, 1.0);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_was_silent_for_long_may_wait_for_the_pace_of_large_messages() {
    let cluster = TestCluster::start_with(1, |config| {
        config.limits.large_messages_per_second = ByteSize::mib(1);
        config.limits.receive = TimeSpan::from_secs(4);
    })
    .await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    let mut batch = rude.call(BATCH).await;
    // A call that is ended for its silence says that the time of a message is over.
    let (_, refusal) = rude.call(RESERVE).await.refusal().await;
    assert!(refusal.message.contains("4000 ms"), "{refusal:?}");
    // A field of bytes that no message knows.
    let padded = |bytes: usize| {
        let mut message = vec![0xa2, 0x06];
        prost::encoding::encode_varint(bytes as u64, &mut message);
        message.resize(message.len() + bytes, 0);
        framed(&message)
    };
    // These are more bytes than may come at once: both messages wait for a second and a half.
    let mut large = rude.call(RESERVE).await;
    large.send(padded(1_100 << 10), true);
    eventually("what may come at once is used up", || async {
        let taken = sample(&cluster, "holdfast_caller_taken_bytes").await;
        (taken >= 2.0 * f64::from(600 << 10)).then_some(())
    })
    .await;
    batch.send(padded(200 << 10), true);
    let (_, refusal) = large.refusal().await;
    assert_ne!(refusal.reason(), Reason::Overloaded, "{refusal:?}");
    let status = batch.status().await;
    assert_eq!(status.code(), Code::Ok, "{status:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_does_not_come_whole_in_time_ends_its_call() {
    let cluster =
        TestCluster::start_with(1, |config| config.limits.receive = TimeSpan::from_millis(200)).await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    let order = framed(&reserve(&id(), "A", 1).encode_to_vec());
    let batch = v1::BatchRequest {
        items: vec![v1::BatchItem {
            tag: 1,
            request: Some(v1::batch_item::Request::Reserve(reserve(&id(), "A", 1))),
        }],
    };
    let batch = framed(&batch.encode_to_vec());
    // A batch that sends nothing may wait for ever.
    let idle = rude.call(BATCH).await;
    for (path, sent) in [
        (RESERVE, Bytes::new()),
        (RESERVE, order.slice(..3)),
        (RESERVE, order.slice(..order.len() - 1)),
        // The message is whole, but the call does not end.
        (RESERVE, order.clone()),
        (BATCH, batch.slice(..batch.len() - 1)),
    ] {
        let mut call = rude.call(path).await;
        call.send(sent, false);
        let (status, refusal) = call.refusal().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{path}");
        // Another attempt with this id may have arrived whole.
        assert!(
            !refusal.settled && refusal.message.contains("200 ms"),
            "{refusal:?}"
        );
    }
    let mut idle = idle;
    idle.send(framed(&v1::BatchRequest::default().encode_to_vec()), true);
    let answer = within_patience("the batch is answered", idle.answer)
        .await
        .unwrap();
    assert!(Status::from_header_map(answer.headers()).is_none(), "{answer:?}");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_of_empty_elements_is_refused_before_it_is_decoded() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    for (path, element) in [(RESERVE, [0x1a, 0x00]), (BATCH, [0x0a, 0x00])] {
        let mut call = rude.call(path).await;
        call.send(framed(&element.repeat(2 << 20)[..4 << 20]), true);
        let (status, refusal) = call.refusal().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{path}");
        assert!(refusal.message.contains("262144 fields"), "{refusal:?}");
    }
    assert_eq!(
        sample(&cluster, "holdfast_intake_refusals_total{limit=\"fields\"}").await,
        2.0
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_with_too_many_fields_is_refused_while_it_comes() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let mut rude = Rude::connect(cluster.node(0).client_address(), 65_535).await;
    for (path, element) in [(RESERVE, [0x1a, 0x00]), (BATCH, [0x0a, 0x00])] {
        let mut call = rude.call(path).await;
        call.send(announced(4 << 20), false);
        // The fields are a little more than the limit; the rest of the message never comes.
        call.send(element.repeat(262_145).into(), false);
        let (status, refusal) = call.refusal().await;
        assert_eq!(status.code(), Code::InvalidArgument, "{path}");
        assert!(refusal.message.contains("262144 fields"), "{refusal:?}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_order_is_decided_alone_and_in_a_batch() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    let mut order = reserve(&id(), "", 1);
    order.lines = (0..1_024)
        .map(|line| v1::ReserveLine {
            sku: format!("{line:0>64}"),
            quantity: 1,
            source: Some(v1::Source {
                kind: Some(v1::source::Kind::Preference(v1::WarehouseList {
                    warehouses: (0..64).map(|place| format!("{place:0>32}")).collect(),
                })),
            }),
        })
        .collect();
    let refused = cluster.reservations(0).reserve(order.clone()).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::InsufficientStock, "{refused:?}");
    let batch = v1::BatchRequest {
        items: vec![v1::BatchItem {
            tag: 1,
            request: Some(v1::batch_item::Request::Reserve(order)),
        }],
    };
    let batches = tokio_stream::iter(vec![batch.clone(), batch]);
    let mut answers = cluster.reservations(0).batch(batches).await.unwrap().into_inner();
    for _ in 0..2 {
        let answer = within_patience("an answer", answers.message())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(answer.results.len(), 1, "{answer:?}");
    }
    cluster.stop_all().await;
}
