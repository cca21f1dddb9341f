//! Real nodes that send traces and metrics to a collector in this process.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod collector;
mod nodes;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_api::v1;
use holdfast_api::v1::reservations_client::ReservationsClient;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use tonic::{Code, Request, Status};

use collector::{Collector, SpanSeen};
use nodes::{Cluster, eventually, reserve};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Reserves with a caller's trace, which the caller has either sampled or not.
async fn reserve_with(
    cluster: &Cluster,
    index: usize,
    request: v1::ReserveRequest,
    sampled: bool,
) -> Result<v1::ReserveResponse, Status> {
    let mut request = Request::new(request);
    let flags = if sampled { "01" } else { "00" };
    let traceparent = format!("00-{TRACE_ID}-{CALLER}-{flags}");
    request
        .metadata_mut()
        .insert("traceparent", traceparent.parse().unwrap());
    let mut client = ReservationsClient::new(cluster.channel(index));
    client.reserve(request).await.map(tonic::Response::into_inner)
}

/// Returns the spans of the caller's trace, once all of these names are there.
async fn trace(collector: &Collector, names: &[&str]) -> BTreeMap<String, SpanSeen> {
    eventually("the whole trace has arrived", async || {
        let spans = collector.spans();
        let of_trace = spans.into_iter().filter(|span| span.trace_id == TRACE_ID);
        let by_name: BTreeMap<String, SpanSeen> = of_trace.map(|span| (span.name.clone(), span)).collect();
        names
            .iter()
            .all(|name| by_name.contains_key(*name))
            .then_some(by_name)
    })
    .await
}

#[track_caller]
fn assert_below(spans: &BTreeMap<String, SpanSeen>, child: &str, parent: &str) {
    let (child, parent) = (&spans[child], &spans[parent]);
    assert_eq!(
        child.parent_id, parent.id,
        "{} is below {}",
        child.name, parent.name
    );
    assert!(
        parent.start_ns <= child.start_ns,
        "{} begins within {}",
        child.name,
        parent.name
    );
}

#[track_caller]
fn assert_within(spans: &BTreeMap<String, SpanSeen>, child: &str, parent: &str) {
    assert_below(spans, child, parent);
    let (child, parent) = (&spans[child], &spans[parent]);
    assert!(
        child.end_ns <= parent.end_ns,
        "{} ends within {}",
        child.name,
        parent.name
    );
}

const RESERVE: &str = "holdfast.v1.Reservations/Reserve";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_reservation_is_one_trace_from_the_call_to_the_decision() {
    let collector = Collector::start().await;
    let cluster = Cluster::start(1, &collector.endpoint(), 0).await;
    cluster.receive("A", 10).await;
    let request = reserve("A", 3);
    let operation_id = request.operation.clone().unwrap().operation_id;
    // The first caller says that its trace is not wanted.
    reserve_with(&cluster, 0, reserve("A", 1), false).await.unwrap();
    let answer = reserve_with(&cluster, 0, request, true).await.unwrap();

    let stages = [RESERVE, "submit", "propose", "quorum", "sync", "apply"];
    let spans = trace(&collector, &stages).await;
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    assert_eq!(names.len(), stages.len(), "{names:?}");
    assert_eq!(spans[RESERVE].parent_id, CALLER);
    for (child, parent) in [
        ("submit", RESERVE),
        ("propose", "submit"),
        ("quorum", "submit"),
        ("sync", "quorum"),
        ("apply", "submit"),
    ] {
        assert_within(&spans, child, parent);
    }
    assert!(spans.values().all(|span| span.start_ns <= span.end_ns));
    assert!(spans["propose"].end_ns <= spans["quorum"].start_ns);
    assert!(spans["quorum"].end_ns <= spans["apply"].start_ns);
    assert!(spans["sync"].start_ns < spans["sync"].end_ns, "a sync takes time");

    let call = &spans[RESERVE];
    assert_eq!(call.kind, SpanKind::Server as i32);
    assert_eq!(call.attributes["rpc.system"], "grpc");
    assert_eq!(call.attributes["rpc.service"], "holdfast.v1.Reservations");
    assert_eq!(call.attributes["rpc.method"], "Reserve");
    assert_eq!(call.attributes["rpc.grpc.status_code"], "0");
    let id = uuid::Uuid::from_slice(&operation_id).unwrap();
    assert_eq!(call.attributes["holdfast.operation_id"], id.to_string());
    let shard = answer.receipt.unwrap().position.unwrap().shard;
    assert_eq!(spans["submit"].attributes["holdfast.shard"], shard.to_string());
    let resource = &call.resource;
    assert_eq!(
        (
            resource["service.name"].as_str(),
            resource["service.instance.id"].as_str()
        ),
        ("holdfast", "1")
    );
    for span in collector.spans() {
        assert_eq!(span.trace_id, TRACE_ID, "a call that nobody traces has no spans");
        assert!(
            span.attributes.values().all(|value| value != "A"),
            "no SKU leaves in a trace"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_stock_is_there_for_is_answered_from_a_confirmed_read() {
    let collector = Collector::start().await;
    let cluster = Cluster::start(1, &collector.endpoint(), 0).await;
    cluster.receive("A", 1).await;
    let refused = reserve_with(&cluster, 0, reserve("A", 2), true)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let spans = trace(&collector, &[RESERVE, "submit", "propose", "confirm"]).await;
    assert_within(&spans, "confirm", "submit");
    assert!(!spans.contains_key("quorum"), "nothing was written");
    let code = (Code::FailedPrecondition as i32).to_string();
    assert_eq!(spans[RESERVE].attributes["rpc.grpc.status_code"], code);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_goes_on_at_the_node_that_leads() {
    let collector = Collector::start().await;
    let cluster = Cluster::start(3, &collector.endpoint(), 0).await;
    let shard = cluster.receive("A", 10).await;
    let forward = "holdfast.peer.v1.Peer/Forward";
    let stages = [
        RESERVE, "submit", "forward", forward, "propose", "quorum", "sync", "apply",
    ];
    // Leadership may move meanwhile, so each node is asked until one had to ask another.
    let spans = eventually("a node that does not lead was asked", async || {
        let follower = cluster.follower(shard).await?;
        collector.clear();
        reserve_with(&cluster, follower, reserve("A", 1), true)
            .await
            .ok()?;
        let forwarded = trace(&collector, &[RESERVE, "submit", "apply"])
            .await
            .contains_key("forward");
        forwarded.then_some(())?;
        Some(trace(&collector, &stages).await)
    })
    .await;
    for (child, parent) in [
        ("submit", RESERVE),
        ("forward", "submit"),
        (forward, "forward"),
        ("propose", forward),
        ("quorum", forward),
        ("apply", forward),
    ] {
        assert_within(&spans, child, parent);
    }
    // The majority may have the entry before this node's own disk has it.
    assert_below(&spans, "sync", "quorum");
    assert_eq!(spans["forward"].kind, SpanKind::Client as i32);
    assert_ne!(
        spans["forward"].resource["service.instance.id"],
        spans[forward].resource["service.instance.id"]
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_calls_without_a_trace_the_configured_share_is_traced() {
    let collector = Collector::start().await;
    let cluster = Cluster::start(1, &collector.endpoint(), 1_000).await;
    cluster.receive("A", 1).await;
    eventually("the arrival is traced", async || {
        let spans = collector.spans();
        let call = spans
            .iter()
            .find(|span| span.name == "holdfast.v1.Stock/Receive")?;
        let below = spans.iter().filter(|span| span.trace_id == call.trace_id);
        (call.parent_id.is_empty() && below.count() == 6).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_leave_with_the_names_and_numbers_of_the_page() {
    let collector = Collector::start().await;
    let cluster = Cluster::start(1, &collector.endpoint(), 0).await;
    cluster.receive("A", 10).await;
    for _ in 0..3 {
        let mut client = ReservationsClient::new(cluster.channel(0));
        client.reserve(reserve("A", 1)).await.unwrap();
    }
    let page = cluster.metrics(0).await;
    let on_page: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .collect();
    cluster.stop().await;
    // The last metrics are sent when the node stops.
    let sent = collector.metrics();
    let reserves = sent
        .iter()
        .rfind(|metric| metric.name == "holdfast_calls_total")
        .unwrap();
    let Some(Data::Sum(calls)) = &reserves.data else {
        panic!("not a sum")
    };
    let of_reserve = calls.data_points.iter().find(|point| {
        let text = format!("{:?}", point.attributes);
        text.contains("\"Reserve\"") && text.contains("\"OK\"")
    });
    assert_eq!(of_reserve.unwrap().value, Some(Number::AsDouble(3.0)));
    let took = sent
        .iter()
        .rfind(|metric| metric.name == "holdfast_call_duration_seconds")
        .unwrap();
    let Some(Data::Histogram(took)) = &took.data else {
        panic!("not a histogram")
    };
    let counted: u64 = took.data_points.iter().map(|point| point.count).sum();
    let in_buckets: u64 = took
        .data_points
        .iter()
        .flat_map(|point| &point.bucket_counts)
        .sum();
    assert_eq!(counted, in_buckets);
    assert!(counted >= 4);

    let names: Vec<&str> = sent.iter().map(|metric| metric.name.as_str()).collect();
    let with_samples = |family: &str| page.lines().any(|line| line.starts_with(family));
    for line in on_page {
        let (family, kind) = line.split_once(' ').unwrap();
        let name = match kind {
            "counter" => format!("{family}_total"),
            "info" => format!("{family}_info"),
            _ => family.to_owned(),
        };
        if with_samples(family) {
            assert!(names.contains(&name.as_str()), "{name} was not sent");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_does_not_answer_neither_slows_nor_stops_the_node() {
    // This collector accepts connections and never answers.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let cluster = Cluster::start(1, &endpoint, 1_000).await;
    cluster.receive("A", 10_000).await;
    // More spans than can wait.
    let calls: Vec<_> = (0..16)
        .map(|_| {
            let mut client = ReservationsClient::new(cluster.channel(0));
            tokio::spawn(async move {
                for _ in 0..120 {
                    client.reserve(reserve("A", 1)).await.unwrap();
                }
            })
        })
        .collect();
    for call in calls {
        call.await.unwrap();
    }
    let began = Instant::now();
    cluster.stop().await;
    // Twice the time that the last messages may take, and what the node itself needs. The test looks for a
    // wait without an end.
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    // No collector is there at all.
    drop(silent);
    let cluster = Cluster::start(1, &endpoint, 1_000).await;
    cluster.receive("A", 1).await;
    cluster.stop().await;
}
