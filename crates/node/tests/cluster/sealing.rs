//! Refusals of requests whose earlier attempt has no answer. Such a refusal is final (`settled`): a copy of
//! the request that arrives later changes nothing.

use std::future::Future;

use bytes::Bytes;
use holdfast_api::reasons;
use holdfast_api::v1;
use tonic::{Response, Status};
use v1::Reason;

use crate::support::*;

/// Returns the operation of a request that is sent for the first time, or again after an attempt without an
/// answer.
fn attempt(operation_id: &Bytes, repeats: bool) -> Option<v1::Operation> {
    Some(v1::Operation {
        repeats,
        ..operation_with(operation_id.clone()).unwrap()
    })
}

/// Calls until there is an answer, which must be a refusal. Returns its reason, and whether it is final.
async fn refused<T, F>(call: impl Fn() -> F) -> (Reason, bool)
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let status = match retried(call).await {
        Ok(_) => panic!("it was done"),
        Err(status) => status,
    };
    let refusal = reasons::refusal_in(&status).unwrap();
    (refusal.reason(), refusal.settled)
}

/// Checks that the call is refused finally: for this reason, or because of the seal if an earlier answer was
/// lost.
async fn refused_for_good<T, F>(why: Reason, call: impl Fn() -> F)
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let (told, settled) = refused(call).await;
    assert!(told == why || told == Reason::OperationSealed, "{told:?}");
    assert!(settled);
}

/// Sends a refused request again with its flag, and then late copies of the first attempt, through every
/// node.
async fn is_settled<T, F>(cluster: &TestCluster, why: Reason, call: impl Fn(usize, bool) -> F)
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    refused_for_good(why, || call(0, true)).await;
    for sku in ["A", "B", "C", "D"] {
        cluster.receive(1, sku, 10).await;
    }
    for index in 0..3 {
        for repeats in [false, true] {
            let late = refused(|| call(index, repeats)).await;
            assert_eq!(late, (Reason::OperationSealed, true), "through node {index}");
        }
    }
}

async fn nothing_moved(cluster: &TestCluster) {
    for sku in ["A", "B", "C", "D"] {
        let cell = cluster.cell(0, sku).await;
        assert_eq!((cell.on_hand, cell.free), (10, 10), "{cell:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_a_refused_reserve_does_nothing() {
    let cluster = TestCluster::start().await;
    let operation_id = id();
    let call = |index: usize, repeats: bool| {
        let mut request = reserve(&operation_id, "A", 1);
        request.operation = attempt(&operation_id, repeats);
        let mut client = cluster.reservations(index);
        async move { client.reserve(request).await }
    };
    is_settled(&cluster, Reason::InsufficientStock, call).await;
    nothing_moved(&cluster).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_a_refused_reserve_over_several_shards_does_nothing() {
    let cluster = TestCluster::start().await;
    let operation_id = id();
    let call = |index: usize, repeats: bool| {
        let mut request = reserve(&operation_id, "A", 1);
        for sku in ["B", "C", "D"] {
            let line = v1::ReserveLine {
                sku: sku.to_owned(),
                ..request.lines[0].clone()
            };
            request.lines.push(line);
        }
        request.operation = attempt(&operation_id, repeats);
        let mut client = cluster.reservations(index);
        async move { client.reserve(request).await }
    };
    is_settled(&cluster, Reason::InsufficientStock, call).await;
    nothing_moved(&cluster).await;
    cluster.stop_all().await;
}

/// The hold that the request replaces would decide to which shard a copy goes, and its shard is not known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_replacement_of_an_unknown_hold_is_closed_in_every_shard() {
    let cluster = TestCluster::start().await;
    let (operation_id, unknown) = (id(), id());
    refused_for_good(Reason::UnknownReservation, || {
        let request = v1::ReserveRequest {
            operation: attempt(&operation_id, true),
            replaces: key(&unknown),
            ..reserve(&operation_id, "A", 1)
        };
        let mut client = cluster.reservations(0);
        async move { client.reserve(request).await }
    })
    .await;
    for sku in ["A", "B", "C", "D"] {
        cluster.receive(1, sku, 10).await;
        let late = refused(|| {
            let request = reserve(&operation_id, sku, 1);
            let mut client = cluster.reservations(1);
            async move { client.reserve(request).await }
        })
        .await;
        assert_eq!(late, (Reason::OperationSealed, true), "{sku}");
    }
    nothing_moved(&cluster).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_a_refused_adjustment_does_nothing() {
    let cluster = TestCluster::start().await;
    let operation_id = id();
    let call = |index: usize, repeats: bool| {
        let request = v1::AdjustRequest {
            operation: attempt(&operation_id, repeats),
            sku: "A".to_owned(),
            warehouse: "W1".to_owned(),
            delta: -3,
        };
        let mut client = cluster.stock(index);
        async move { client.adjust(request).await }
    };
    is_settled(&cluster, Reason::InsufficientStock, call).await;
    nothing_moved(&cluster).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_copy_of_a_commit_of_nothing_does_nothing_to_what_comes_later() {
    let cluster = TestCluster::start().await;
    let (reservation_id, operation_id) = (id(), id());
    let call = |index: usize, repeats: bool| {
        let request = v1::CommitRequest {
            operation: attempt(&operation_id, repeats),
            reservation: key(&reservation_id),
        };
        let mut client = cluster.reservations(index);
        async move { client.commit(request).await }
    };
    assert_eq!(
        refused(|| call(0, true)).await,
        (Reason::UnknownReservation, true)
    );
    cluster.receive(1, "A", 10).await;
    let request = reserve(&reservation_id, "A", 1);
    let mut client = cluster.reservations(2);
    client.reserve(request).await.unwrap();
    for index in 0..3 {
        let late = refused(|| call(index, false)).await;
        assert_eq!(late, (Reason::OperationSealed, true), "through node {index}");
    }
    let cell = cluster.cell(0, "A").await;
    assert_eq!((cell.held, cell.committed), (1, 0), "{cell:?}");
    cluster.stop_all().await;
}
