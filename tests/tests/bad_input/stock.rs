//! Bad requests about stock.

use anyhow::Result;
use holdfast_api::v1;
use holdfast_api::v1::stock_client::StockClient;
use holdfast_tests::{Cluster, requests};
use tonic::Code;

use super::Case;

pub(crate) async fn cases(cluster: &Cluster) -> Result<Vec<Case>> {
    let mut node = StockClient::new(cluster.channel(1)?);
    let operation = || Some(requests::operation());
    let (sku, warehouse) = ("SKU-1".to_owned(), requests::WAREHOUSE.to_owned());
    let invalid = Code::InvalidArgument;
    let mut cases: Vec<Case> = Vec::new();

    for (what, request, code) in [
        ("receive nothing", requests::receive("SKU-1", 0), invalid),
        (
            "receive without a warehouse",
            v1::ReceiveRequest {
                warehouse: String::new(),
                ..requests::receive("SKU-1", 1)
            },
            invalid,
        ),
        (
            "receive more than fits",
            requests::receive("SKU-1", i64::MAX),
            Code::OutOfRange,
        ),
    ] {
        cases.push((what, node.receive(request).await.map(drop), code));
    }
    let adjust = |delta| v1::AdjustRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        delta,
    };
    cases.push((
        "adjust by nothing",
        node.adjust(adjust(0)).await.map(drop),
        invalid,
    ));
    cases.push((
        "adjust below what is free",
        node.adjust(adjust(-9)).await.map(drop),
        Code::FailedPrecondition,
    ));
    cases.push((
        "adjust by the smallest number",
        node.adjust(adjust(i64::MIN)).await.map(drop),
        Code::OutOfRange,
    ));
    let count = |counted, as_of_seq| v1::CountRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        counted,
        as_of_seq,
    };
    cases.push((
        "count less than nothing",
        node.count(count(-1, None)).await.map(drop),
        invalid,
    ));
    cases.push((
        "count in the future",
        node.count(count(5, Some(u64::MAX))).await.map(drop),
        Code::OutOfRange,
    ));
    let shift = |from: v1::Bucket, to: v1::Bucket, quantity| v1::MoveBucketRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        from_bucket: from.into(),
        to_bucket: to.into(),
        quantity,
    };
    cases.push((
        "move to where it is",
        node.move_bucket(shift(v1::Bucket::Free, v1::Bucket::Free, 1))
            .await
            .map(drop),
        invalid,
    ));
    cases.push((
        "move out of held",
        node.move_bucket(shift(v1::Bucket::Held, v1::Bucket::Free, 1))
            .await
            .map(drop),
        invalid,
    ));
    cases.push((
        "move more than there is",
        node.move_bucket(shift(v1::Bucket::Free, v1::Bucket::Damaged, 99))
            .await
            .map(drop),
        Code::FailedPrecondition,
    ));
    let policy = v1::SetPolicyRequest {
        operation: operation(),
        sku: sku.clone(),
        storefront: "web".to_owned(),
        may_borrow: true,
        max_per_reservation: -1,
        ..v1::SetPolicyRequest::default()
    };
    cases.push((
        "a negative limit",
        node.set_policy(policy).await.map(drop),
        invalid,
    ));
    let pool = |target| v1::AllocatePoolRequest {
        operation: operation(),
        sku: sku.clone(),
        warehouse: warehouse.clone(),
        storefront: "web".to_owned(),
        target,
    };
    cases.push((
        "a negative pool",
        node.allocate_pool(pool(-1)).await.map(drop),
        invalid,
    ));
    cases.push((
        "a pool larger than free",
        node.allocate_pool(pool(1_000)).await.map(drop),
        Code::FailedPrecondition,
    ));
    Ok(cases)
}
