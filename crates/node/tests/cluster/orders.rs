//! Orders whose SKUs live in several shards.

use std::collections::BTreeSet;

use bytes::Bytes;
use holdfast_api::v1;
use tonic::Code;
use v1::{ChangeKind, Reason, ReservationState};

use crate::support::{TestCluster, eventually, id, key, operation, reason, reserve, retried};

/// Returns an order for one unit of each SKU in `skus`: A, B, C, ...
fn order(operation_id: &Bytes, skus: &str) -> v1::ReserveRequest {
    let mut request = reserve(operation_id, "A", 1);
    request.lines = skus
        .chars()
        .map(|sku| v1::ReserveLine {
            sku: sku.to_string(),
            quantity: 1,
            source: None,
        })
        .collect();
    request
}

async fn stocked(skus: &str, quantity: i64) -> TestCluster {
    let cluster = TestCluster::start().await;
    for sku in skus.chars() {
        cluster.receive(0, &sku.to_string(), quantity).await;
    }
    cluster
}

async fn state(cluster: &TestCluster, index: usize, id: &Bytes) -> v1::Reservation {
    let request = v1::GetReservationRequest {
        reservation: key(id),
        consistency: v1::Consistency::Linearizable.into(),
    };
    let answer = cluster
        .reservations(index)
        .get_reservation(request)
        .await
        .unwrap();
    answer.into_inner().reservation.unwrap()
}

const LETTERS: &str = "ABCDEFGHIJKLMNOP";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_over_all_shards_goes_through_its_whole_life_through_any_node() {
    let cluster = stocked(LETTERS, 2).await;
    let order_id = id();
    let held = cluster
        .reservations(0)
        .reserve(order(&order_id, LETTERS))
        .await
        .unwrap();
    let held = held.into_inner();
    assert_eq!(held.lines.len(), LETTERS.len());
    assert!(held.lines.iter().all(|line| line.granted == 1));

    let again = cluster
        .reservations(1)
        .reserve(order(&order_id, LETTERS))
        .await
        .unwrap();
    let again = again.into_inner();
    assert!(again.receipt.unwrap().replayed);
    assert_eq!(
        (again.lines, again.expires_at_ms),
        (held.lines, held.expires_at_ms)
    );

    let commit = v1::CommitRequest {
        operation: operation(),
        reservation: key(&order_id),
    };
    let committed = cluster.reservations(2).commit(commit).await.unwrap().into_inner();
    assert_eq!(committed.state(), ReservationState::Committed);

    let ship = |lines: Vec<u32>| v1::ShipRequest {
        operation: operation(),
        reservation: key(&order_id),
        lines: lines
            .into_iter()
            .map(|line| v1::LineQuantity {
                line,
                quantity: 1,
                warehouse: String::new(),
            })
            .collect(),
    };
    let some = cluster.reservations(1).ship(ship(vec![0, 5, 9])).await.unwrap();
    assert_eq!(some.into_inner().state(), ReservationState::Committed);
    let unknown_line = cluster.reservations(1).ship(ship(vec![99])).await.unwrap_err();
    assert_eq!(reason(&unknown_line), Reason::ExceedsLine);
    let rest_request = ship(Vec::new());
    let rest = cluster
        .reservations(0)
        .ship(rest_request.clone())
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (rest.state(), rest.receipt.unwrap().replayed),
        (ReservationState::Shipped, false)
    );
    let repeated = cluster
        .reservations(2)
        .ship(rest_request)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(
        (repeated.state(), repeated.receipt.unwrap().replayed),
        (ReservationState::Shipped, true)
    );

    let take_back = v1::ReturnRequest {
        operation: operation(),
        what: Some(v1::return_request::What::Reservation(v1::ReservationReturn {
            reservation: key(&order_id),
            lines: Vec::new(),
        })),
        disposition: v1::Disposition::Restock.into(),
    };
    let returned = cluster.reservations(1).r#return(take_back).await.unwrap();
    assert_eq!(returned.into_inner().state(), ReservationState::Returned);
    let whole = state(&cluster, 2, &order_id).await;
    assert_eq!(
        (whole.state(), whole.lines.len()),
        (ReservationState::Returned, LETTERS.len())
    );
    assert!(
        whole
            .lines
            .iter()
            .map(|line| line.line)
            .eq(0..LETTERS.len() as u32)
    );
    for sku in LETTERS.chars() {
        let cell = cluster.cell(0, &sku.to_string()).await;
        assert_eq!((cell.on_hand, cell.free, cell.held, cell.committed), (2, 2, 0, 0));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_that_lacks_stock_in_one_shard_takes_nothing_in_any() {
    let cluster = stocked("ABCDEFG", 1).await;
    let first = id();
    cluster.reservations(0).reserve(order(&first, "C")).await.unwrap();
    let status = cluster
        .reservations(1)
        .reserve(order(&id(), "ABCDEFG"))
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::FailedPrecondition, Reason::InsufficientStock)
    );
    let refusal = holdfast_api::reasons::refusal_in(&status).unwrap();
    let short: Vec<_> = refusal
        .shortages
        .iter()
        .map(|short| (short.line, short.sku.as_str(), short.requested, short.available))
        .collect();
    assert_eq!(short, [(2, "C", 1, 0)]);
    for sku in "ABDEFG".chars() {
        eventually("everything is free again", || async {
            (cluster.cell(0, &sku.to_string()).await.held == 0).then_some(())
        })
        .await;
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_released_order_gives_everything_back_and_its_stream_says_so_once_for_each_shard() {
    let cluster = stocked("ABCDEFGH", 1).await;
    let order_id = id();
    cluster
        .reservations(0)
        .reserve(order(&order_id, "ABCDEFGH"))
        .await
        .unwrap();
    let release = v1::ReleaseRequest {
        operation: operation(),
        reservation: key(&order_id),
    };
    cluster.reservations(1).release(release).await.unwrap();
    for sku in "ABCDEFGH".chars() {
        eventually("everything is free again", || async {
            (cluster.cell(0, &sku.to_string()).await.free == 1).then_some(())
        })
        .await;
    }
    let shards = cluster.topology(0).await.shards.len() as u32;
    let mut with_part = BTreeSet::new();
    let mut released = 0;
    for shard in 0..shards {
        for change in cluster.all_changes(0, shard).await {
            match change.kind() {
                ChangeKind::Prepared => drop(with_part.insert(shard)),
                ChangeKind::Released => released += 1,
                _ => {}
            }
        }
    }
    assert!(with_part.len() > 1, "the SKUs live in one shard: {with_part:?}");
    assert_eq!(released, "ABCDEFGH".len());
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_may_hold_orders_over_several_shards() {
    let cluster = stocked("ABCDEFGH", 3).await;
    let ids = [id(), id(), id()];
    let items = [
        order(&ids[0], "ABCD"),
        order(&ids[1], "A"),
        order(&ids[2], "EFGHAB"),
    ];
    let items = (0..).zip(items).map(|(tag, request)| v1::BatchItem {
        tag,
        request: Some(v1::batch_item::Request::Reserve(request)),
    });
    let message = v1::BatchRequest {
        items: items.collect(),
    };
    let stream = tokio_stream::once(message);
    let mut results = cluster.reservations(0).batch(stream).await.unwrap().into_inner();
    let mut granted = BTreeSet::new();
    while let Some(answer) = results.message().await.unwrap() {
        for result in answer.results {
            assert!(
                matches!(result.result, Some(v1::batch_result::Result::Reserved(_))),
                "{result:?}"
            );
            granted.insert(result.tag);
        }
    }
    assert_eq!(granted, BTreeSet::from([0, 1, 2]));
    assert_eq!(cluster.cell(0, "A").await.held, 3);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_survives_the_restart_of_the_node_that_took_it() {
    let mut cluster = stocked("ABCDEFGH", 1).await;
    let order_id = id();
    cluster
        .reservations(0)
        .reserve(order(&order_id, "ABCDEFGH"))
        .await
        .unwrap();
    cluster.stop(0).await;
    let commit = v1::CommitRequest {
        operation: operation(),
        reservation: key(&order_id),
    };
    let mut client = cluster.reservations(1);
    let committed = retried(|| {
        let (mut client, commit) = (client.clone(), commit.clone());
        async move { client.commit(commit).await }
    })
    .await
    .unwrap();
    assert_eq!(committed.state(), ReservationState::Committed);
    cluster.start_again(0).await;
    cluster.ready().await;
    let ship = v1::ShipRequest {
        operation: operation(),
        reservation: key(&order_id),
        lines: Vec::new(),
    };
    let shipped = client.ship(ship).await.unwrap().into_inner();
    assert_eq!(shipped.state(), ReservationState::Shipped);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_two_shards_have_is_told_and_none_of_them_is_taken() {
    let cluster = stocked(LETTERS, 2).await;
    let shared = id();
    let mut shards = BTreeSet::new();
    for (place, sku) in LETTERS.chars().enumerate() {
        let request = reserve(&shared, &sku.to_string(), 1);
        // The second reservation in a shard is refused.
        if let Ok(held) = cluster.reservations(place % 2).reserve(request).await {
            let receipt = held.into_inner().receipt.unwrap();
            shards.insert(receipt.position.unwrap().shard);
        }
    }
    assert!(shards.len() > 1, "all SKUs live in one shard");
    let told = format!("{:?}", shards.iter().collect::<Vec<_>>());
    for index in 0..3 {
        let commit = v1::CommitRequest {
            operation: operation(),
            reservation: key(&shared),
        };
        let refused = cluster.reservations(index).commit(commit).await.unwrap_err();
        assert_eq!(reason(&refused), Reason::OperationIdReused);
        assert!(refused.message().contains(&told), "{refused:?}");
        let get = v1::GetReservationRequest {
            reservation: key(&shared),
            consistency: v1::Consistency::Linearizable.into(),
        };
        let refused = cluster
            .reservations(index)
            .get_reservation(get)
            .await
            .unwrap_err();
        assert_eq!(reason(&refused), Reason::OperationIdReused);
    }
    for shard in shards {
        let commit = v1::CommitRequest {
            operation: operation(),
            reservation: Some(v1::ReservationKey {
                reservation_id: shared.clone(),
                shard: Some(shard),
            }),
        };
        let paid = cluster.reservations(1).commit(commit).await.unwrap().into_inner();
        assert_eq!(paid.receipt.unwrap().position.unwrap().shard, shard);
    }
    cluster.stop_all().await;
}
