//! Bad requests that read.

use anyhow::Result;
use bytes::Bytes;
use holdfast_api::v1;
use holdfast_api::v1::admin_client::AdminClient;
use holdfast_api::v1::availability_client::AvailabilityClient;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_api::v1::stock_client::StockClient;
use holdfast_tests::{Cluster, requests};
use tonic::{Code, Status};

use super::Case;

pub(crate) async fn cases(cluster: &Cluster) -> Result<Vec<Case>> {
    let invalid = Code::InvalidArgument;
    let mut cases: Vec<Case> = Vec::new();
    let mut stock = StockClient::new(cluster.channel(2)?);
    let get = v1::GetStockRequest {
        sku: "a  b".to_owned(),
        ..Default::default()
    };
    cases.push(("stock of no SKU", stock.get_stock(get).await.map(drop), invalid));
    let list = v1::ListStockRequest {
        shard: Some(77),
        consistency: 0,
    };
    cases.push((
        "stock of no shard",
        first(stock.list_stock(list).await).await,
        invalid,
    ));

    let mut availability = AvailabilityClient::new(cluster.channel(2)?);
    let ask = |skus: Vec<String>| v1::CheckAvailabilityRequest {
        storefront: "web".to_owned(),
        skus,
        consistency: 0,
    };
    cases.push((
        "availability of nothing",
        availability.check_availability(ask(vec![])).await.map(drop),
        invalid,
    ));
    let many = (0..257).map(|sku| format!("SKU-{sku}")).collect();
    cases.push((
        "availability of 257 SKUs",
        availability.check_availability(ask(many)).await.map(drop),
        invalid,
    ));

    let mut changes = ChangesClient::new(cluster.channel(2)?);
    let tail = v1::TailChangesRequest {
        shard: 77,
        ..Default::default()
    };
    cases.push((
        "changes of no shard",
        first(changes.tail_changes(tail).await).await,
        invalid,
    ));
    let tail = v1::TailChangesRequest {
        reservation_id: Bytes::from_static(b"short"),
        ..Default::default()
    };
    cases.push((
        "changes of half an id",
        first(changes.tail_changes(tail).await).await,
        invalid,
    ));

    let mut admin = AdminClient::new(cluster.admin_channel(2)?);
    let transfer = v1::TransferLeaderRequest {
        shard: 77,
        to_node_id: 0,
    };
    cases.push((
        "a leader for no shard",
        admin.transfer_leader(transfer).await.map(drop),
        invalid,
    ));
    let transfer = v1::TransferLeaderRequest {
        shard: 0,
        to_node_id: 99,
    };
    cases.push((
        "a leader that is no node",
        admin.transfer_leader(transfer).await.map(drop),
        invalid,
    ));
    let decide = |shard, rule: &str| v1::DecideEntryRequest {
        shard,
        log_index: 5,
        rule: rule.to_owned(),
        dry_run: false,
        without_unreachable: true,
    };
    cases.push((
        "a decision on an entry of no shard",
        admin.decide_entry(decide(77, "refuse")).await.map(drop),
        invalid,
    ));
    cases.push((
        "a decision by no rule",
        admin.decide_entry(decide(0, "forget")).await.map(drop),
        invalid,
    ));
    let adopt = v1::AdoptRulesRequest {
        rules: 77,
        dry_run: false,
    };
    cases.push((
        "rules that nobody knows",
        admin.adopt_rules(adopt).await.map(drop),
        invalid,
    ));

    let mut reservations = ReservationsClient::new(cluster.channel(2)?);
    let huge = v1::ReserveRequest {
        storefront: "x".repeat(8 << 20),
        ..requests::reserve("SKU-1", 1)
    };
    cases.push((
        "eight mebibytes",
        reservations.reserve(huge).await.map(drop),
        Code::OutOfRange,
    ));
    Ok(cases)
}

/// Returns the error of a stream, whether it comes at once or with the first message.
async fn first<T>(answer: Result<tonic::Response<tonic::Streaming<T>>, Status>) -> Result<(), Status> {
    answer?.into_inner().message().await.map(drop)
}
