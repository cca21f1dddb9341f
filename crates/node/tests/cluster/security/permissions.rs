//! The calls that an access policy allows and denies, over real connections.

use std::path::Path;
use std::time::Duration;

use holdfast_api::v1;
use holdfast_api::v1::batch_item::Request;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_api::v1::stock_client::StockClient;
use holdfast_api::v1::{Reason, batch_result};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::authority::Credentials;
use super::secured::*;
use crate::support::*;

const POLICY: &str = r#"
[[rules]]
principals = ["spiffe://shop/web"]
verbs = ["reserve", "commit", "release", "read"]
storefronts = ["web"]
warehouses = ["*"]

[[rules]]
principals = ["spiffe://shop/app"]
verbs = ["reserve", "commit", "read"]
storefronts = ["app"]
warehouses = ["W1"]

[[rules]]
principals = ["spiffe://shop/wms"]
verbs = ["receive", "ship", "transfer"]
storefronts = ["*"]
warehouses = ["W1"]

[[rules]]
principals = ["spiffe://shop/stocktaker"]
verbs = ["receive", "count"]
storefronts = ["*"]
warehouses = ["W1"]

[[rules]]
principals = ["spiffe://shop/sink"]
verbs = ["changes"]
storefronts = ["*"]
warehouses = ["*"]

[[rules]]
principals = ["spiffe://shop/tester"]
verbs = ["*"]
storefronts = ["*"]
warehouses = ["*"]
"#;

fn policy(folder: &Path) -> std::path::PathBuf {
    folder.join("policy.toml")
}

async fn with_policy(count: u64) -> Secured {
    Secured::start_with(count, |config, folder| {
        std::fs::write(policy(folder), POLICY).unwrap();
        config.security.policy = Some(policy(folder));
    })
    .await
}

/// Returns a connection to a node with a client certificate of this name.
fn channel_as(secured: &Secured, index: usize, name: &str) -> Channel {
    connect(secured, index, &secured.clients_ca.certify(name))
}

fn connect(secured: &Secured, index: usize, shown: &Credentials) -> Channel {
    endpoint(&format!(
        "https://{}",
        secured.cluster.node(index).client_address()
    ))
    .tls_config(secured.showing(shown))
    .unwrap()
    .connect_lazy()
}

fn denied<T>(answer: Result<T, Status>) {
    let status = answer.err().expect("must be denied");
    assert_eq!(status.code(), Code::PermissionDenied, "{status:?}");
    assert_eq!(reason(&status), Reason::PermissionDenied);
}

fn for_storefront(storefront: &str, operation_id: &bytes::Bytes) -> v1::ReserveRequest {
    v1::ReserveRequest {
        storefront: storefront.to_owned(),
        ..reserve(operation_id, "A", 1)
    }
}

fn commit(reservation_id: &bytes::Bytes) -> v1::CommitRequest {
    v1::CommitRequest {
        operation: operation(),
        reservation: key(reservation_id),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anothers_storefront_is_denied_counted_and_audited_and_what_is_done_bears_the_principals_name() {
    let secured = with_policy(3).await;
    let cluster = &secured.cluster;
    cluster.receive(0, "A", 10).await;
    // The calls go through each node, so that the shard's leader gets some from other nodes too.
    let mut granted = Vec::new();
    for index in 0..3 {
        let mut web = ReservationsClient::new(channel_as(&secured, index, "spiffe://shop/web"));
        let reservation = id();
        let request = for_storefront("web", &reservation);
        web.reserve(request).await.unwrap();
        denied(web.reserve(for_storefront("app", &id())).await);
        granted.push(reservation);
    }
    let topology = cluster.topology(0).await;
    let mut names = Vec::new();
    for shard in &topology.shards {
        let changes = cluster.all_changes(0, shard.shard).await;
        names.extend(
            changes
                .into_iter()
                .filter_map(|change| change.cause)
                .map(|cause| cause.principal),
        );
    }
    names.sort();
    names.dedup();
    assert_eq!(names, ["spiffe://shop/tester", "spiffe://shop/web"]);

    let mut app = ReservationsClient::new(channel_as(&secured, 1, "spiffe://shop/app"));
    denied(app.commit(commit(&granted[0])).await);
    denied(
        app.get_reservation(v1::GetReservationRequest {
            reservation: key(&granted[0]),
            consistency: 0,
        })
        .await,
    );
    // The request may take from any warehouse, so from one that is not allowed.
    denied(app.reserve(for_storefront("app", &id())).await);
    let mut from_w1 = for_storefront("app", &id());
    from_w1.lines[0].source = Some(v1::Source {
        kind: Some(v1::source::Kind::Warehouse("W1".to_owned())),
    });
    let own = from_w1.operation.clone().unwrap().operation_id;
    app.reserve(from_w1.clone()).await.unwrap();
    // A caller that replaces a hold also releases it.
    let replacing = |of: &bytes::Bytes, request: v1::ReserveRequest| v1::ReserveRequest {
        operation: Some(v1::Operation {
            operation_id: id(),
            ..request.operation.unwrap_or_default()
        }),
        replaces: key(of),
        ..request
    };
    denied(app.reserve(replacing(&own, from_w1)).await);
    app.commit(commit(&own)).await.unwrap();

    let mut web = ReservationsClient::new(channel_as(&secured, 2, "spiffe://shop/web"));
    denied(web.commit(commit(&own)).await);
    web.reserve(replacing(&granted[1], for_storefront("web", &id())))
        .await
        .unwrap();
    web.commit(commit(&granted[0])).await.unwrap();
    web.get_reservation(v1::GetReservationRequest {
        reservation: key(&granted[0]),
        consistency: 0,
    })
    .await
    .unwrap();
    let unknown = web.commit(commit(&id())).await.unwrap_err();
    assert_eq!(reason(&unknown), Reason::UnknownReservation);

    secured
        .counted("holdfast_denials_total{verb=\"reserve\",reason=\"storefront\"} 1")
        .await;
    let line = audited(&[
        ("event", "denied"),
        ("principal", "spiffe://shop/app"),
        ("verb", "commit"),
        ("storefront", "web"),
        ("reason", "storefront"),
    ])
    .await;
    assert_eq!(line["target"], "audit");
    assert!(
        line["peer_address"].as_str().unwrap().starts_with("127.0.0.1:"),
        "{line}"
    );
    secured.cluster.stop_all().await;
}

/// Goods that a count has already seen are booked with a recount.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_goods_are_booked_by_those_who_may_count_there() {
    let secured = with_policy(1).await;
    secured.cluster.receive(0, "A", 10).await;
    let receive = |name: &str, warehouse: &str, seq: Option<u64>| {
        let request = v1::ReceiveRequest {
            operation: Some(v1::Operation {
                as_of: Vec::from_iter(seq.map(|seq| v1::AsOfPosition { shard: None, seq })),
                ..operation().unwrap()
            }),
            sku: "A".into(),
            warehouse: warehouse.into(),
            supply_id: String::new(),
            quantity: 1,
        };
        let mut client = StockClient::new(channel_as(&secured, 0, name));
        async move { client.receive(request).await }
    };
    let (wms, stocktaker) = ("spiffe://shop/wms", "spiffe://shop/stocktaker");
    receive(wms, "W1", None).await.unwrap();
    denied(receive(wms, "W1", Some(1)).await);
    receive(stocktaker, "W1", Some(1)).await.unwrap();
    denied(receive(stocktaker, "W2", Some(1)).await);
    secured
        .counted("holdfast_denials_total{verb=\"count\",reason=\"verb\"} 1")
        .await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_item_is_answered_and_its_stream_goes_on() {
    let secured = with_policy(1).await;
    secured.cluster.receive(0, "A", 10).await;
    let mut app_only = for_storefront("app", &id());
    app_only.lines[0].source = Some(v1::Source {
        kind: Some(v1::source::Kind::Warehouse("W1".to_owned())),
    });
    let of_app = app_only.operation.clone().unwrap().operation_id;
    ReservationsClient::new(channel_as(&secured, 0, "spiffe://shop/app"))
        .reserve(app_only)
        .await
        .unwrap();

    let mut web = ReservationsClient::new(channel_as(&secured, 0, "spiffe://shop/web"));
    let (send, receive) = tokio::sync::mpsc::channel(4);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receive);
    let mut answers = web.batch(requests).await.unwrap().into_inner();
    for round in 0..2 {
        let own = id();
        let items = [
            Request::Reserve(for_storefront("web", &own)),
            Request::Reserve(for_storefront("app", &id())),
            Request::Commit(commit(&of_app)),
            Request::Receive(v1::ReceiveRequest {
                operation: operation(),
                sku: "A".into(),
                warehouse: "W1".into(),
                supply_id: String::new(),
                quantity: 1,
            }),
        ];
        let items = items.into_iter().zip(0..).map(|(request, tag)| v1::BatchItem {
            tag,
            request: Some(request),
        });
        send.send(v1::BatchRequest {
            items: items.collect(),
        })
        .await
        .unwrap();
        let mut results = Vec::new();
        while results.len() < 4 {
            results.extend(
                answers
                    .message()
                    .await
                    .unwrap()
                    .expect("the stream goes on")
                    .results,
            );
        }
        results.sort_by_key(|result| result.tag);
        assert!(
            matches!(results[0].result, Some(batch_result::Result::Reserved(_))),
            "round {round}: {results:?}"
        );
        for result in &results[1..] {
            let Some(batch_result::Result::Refused(refusal)) = &result.result else {
                panic!("round {round}: {result:?}");
            };
            assert_eq!(refusal.reason(), Reason::PermissionDenied, "{refusal:?}");
        }
    }
    secured
        .counted("holdfast_denials_total{verb=\"commit\",reason=\"storefront\"} 2")
        .await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_streams_and_history_are_judged_too() {
    let secured = with_policy(1).await;
    secured.cluster.receive(0, "A", 10).await;
    let web = || channel_as(&secured, 0, "spiffe://shop/web");
    let tail = || v1::TailChangesRequest {
        shard: 0,
        ..Default::default()
    };
    let mut changes = v1::changes_client::ChangesClient::new(web());
    denied(changes.tail_changes(tail()).await);
    denied(changes.get_positions(v1::GetPositionsRequest {}).await);
    let mut stock = v1::stock_client::StockClient::new(web());
    denied(
        stock
            .get_stock(v1::GetStockRequest {
                sku: "A".into(),
                ..Default::default()
            })
            .await,
    );
    denied(stock.list_stock(v1::ListStockRequest::default()).await);
    let as_of = v1::GetStockAsOfRequest {
        sku: "A".into(),
        at: Some(v1::get_stock_as_of_request::At::LogTimeMs(1)),
        ..Default::default()
    };
    denied(
        v1::history_client::HistoryClient::new(web())
            .get_stock_as_of(as_of)
            .await,
    );
    let mut availability = v1::availability_client::AvailabilityClient::new(web());
    let ask = |storefront: &str| v1::CheckAvailabilityRequest {
        storefront: storefront.into(),
        skus: vec!["A".into()],
        consistency: 0,
    };
    availability.check_availability(ask("web")).await.unwrap();
    denied(availability.check_availability(ask("app")).await);
    // A caller that a rule names may learn where the cluster is. A stranger with a good certificate may not.
    let topology = |name: &str| {
        let mut client = ClusterClient::new(channel_as(&secured, 0, name));
        async move { client.get_topology(v1::GetTopologyRequest {}).await }
    };
    topology("spiffe://shop/web").await.unwrap();
    denied(topology("spiffe://shop/stranger").await);
    audited(&[("principal", "spiffe://shop/stranger"), ("reason", "principal")]).await;
    // The warehouse's system may act for its own warehouse, not for another.
    let mut wms = v1::transfers_client::TransfersClient::new(channel_as(&secured, 0, "spiffe://shop/wms"));
    let out = v1::TransferOutRequest {
        operation: operation(),
        lines: vec![v1::TransferLine {
            sku: "A".into(),
            quantity: 1,
        }],
        from_warehouse: "W1".into(),
        to_warehouse: "W2".into(),
        expected_at_ms: 1,
    };
    denied(wms.transfer_out(out).await);
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_policy_is_in_force_without_a_restart_and_a_bad_one_is_not() {
    let secured = with_policy(1).await;
    secured.cluster.receive(0, "A", 10).await;
    let mut web = ReservationsClient::new(channel_as(&secured, 0, "spiffe://shop/web"));
    let follow = v1::TailChangesRequest {
        shard: 0,
        follow: true,
        ..Default::default()
    };
    let mut stream = secured
        .cluster
        .changes(0)
        .tail_changes(follow)
        .await
        .unwrap()
        .into_inner();
    web.reserve(for_storefront("web", &id())).await.unwrap();

    let path = policy(secured.folder.path());
    std::fs::write(
        &path,
        "[[rules]]\nprincipals = [\"*\"]\nverbs = [\"everything\"]\n",
    )
    .unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"policy\",result=\"bad\"} 1")
        .await;
    web.reserve(for_storefront("web", &id())).await.unwrap();

    let without_web_and_tester = POLICY
        .replace("shop/web", "shop/other")
        .replace("shop/tester", "shop/nobody");
    std::fs::write(&path, without_web_and_tester).unwrap();
    secured
        .counted("holdfast_security_reloads_total{what=\"policy\",result=\"taken\"} 1")
        .await;
    denied(web.reserve(for_storefront("web", &id())).await);
    // A stream that began under the old rules ends, and says why.
    let status = within_patience("the stream ends", async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it must say why it ends"),
                Err(status) => return status,
            }
        }
    })
    .await;
    assert_eq!(reason(&status), Reason::PermissionDenied);
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_outlives_its_certificate_is_told_so() {
    let secured = Secured::start(1).await;
    let short = secured
        .clients_ca
        .certify_for("spiffe://shop/short", Duration::from_secs(4));
    let client = ClusterClient::new(connect(&secured, 0, &short));
    client
        .clone()
        .get_topology(v1::GetTopologyRequest {})
        .await
        .unwrap();
    let status = eventually("the certificate is over", || async {
        client.clone().get_topology(v1::GetTopologyRequest {}).await.err()
    })
    .await;
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::Unauthenticated, Reason::Unauthenticated)
    );
    audited(&[("principal", "spiffe://shop/short"), ("reason", "expired")]).await;
    secured.cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_required_consumer_is_for_administrators_and_others_are_for_whoever_reads_changes() {
    let secured = with_policy(1).await;
    secured.cluster.receive(0, "A", 10).await;
    let client = |name: &str| v1::changes_client::ChangesClient::new(channel_as(&secured, 0, name));
    let register = |name: &str, required| v1::RegisterConsumerRequest {
        operation: operation(),
        name: name.into(),
        required,
        location: "/archive".into(),
    };
    let remove = |name: &str| v1::RemoveConsumerRequest {
        operation: operation(),
        name: name.into(),
    };
    let advance = || v1::AdvanceConsumerRequest {
        name: "archive".into(),
        location: "/archive".into(),
        positions: vec![v1::ConsumerPosition {
            shard: 0,
            through_seq: 0,
        }],
    };
    let mut web = client("spiffe://shop/web");
    denied(web.register_consumer(register("redis", false)).await);
    denied(web.list_consumers(v1::ListConsumersRequest {}).await);
    let mut sink = client("spiffe://shop/sink");
    sink.register_consumer(register("redis", false)).await.unwrap();
    denied(sink.register_consumer(register("archive", true)).await);
    client("spiffe://shop/tester")
        .register_consumer(register("archive", true))
        .await
        .unwrap();
    denied(web.advance_consumer(advance()).await);
    sink.advance_consumer(advance()).await.unwrap();
    // Neither of these may take from a required consumer what it holds back.
    denied(sink.register_consumer(register("archive", false)).await);
    denied(sink.remove_consumer(remove("archive")).await);
    sink.remove_consumer(remove("redis")).await.unwrap();
    let left = sink.list_consumers(v1::ListConsumersRequest {}).await.unwrap();
    let left: Vec<_> = left.into_inner().consumers;
    assert!(
        left.iter()
            .all(|consumer| consumer.name == "archive" && consumer.required)
    );
    assert!(!left.is_empty());
    secured.cluster.stop_all().await;
}
