//! The life of a reservation, through every node.

use holdfast_api::v1::{self, Reason};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_reserves_commits_and_releases() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "A", 100).await;
    for index in 0..3 {
        let (kept, given_back) = (id(), id());
        let mut client = cluster.reservations(index);
        let granted = client.reserve(reserve(&kept, "A", 3)).await.unwrap().into_inner();
        assert_eq!(granted.lines[0].granted, 3);
        assert!(!granted.receipt.unwrap().replayed);
        client.reserve(reserve(&given_back, "A", 2)).await.unwrap();

        // Another node has not seen these reservations, so it has to find them.
        let mut other = cluster.reservations((index + 1) % 3);
        let committed = v1::CommitRequest {
            operation: operation(),
            reservation: key(&kept),
        };
        let committed = other.commit(committed).await.unwrap().into_inner();
        assert_eq!(committed.state(), v1::ReservationState::Committed);
        let released = v1::ReleaseRequest {
            operation: operation(),
            reservation: key(&given_back),
        };
        let released = other.release(released).await.unwrap().into_inner();
        assert_eq!(released.state(), v1::ReservationState::Released);

        let wrong = v1::CommitRequest {
            operation: operation(),
            reservation: key(&given_back),
        };
        let status = client.commit(wrong).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::FailedPrecondition, Reason::WrongState)
        );
    }
    for index in 0..3 {
        let cell = cluster.cell(index, "A").await;
        assert_eq!(
            (cell.on_hand, cell.free, cell.held, cell.committed),
            (100, 91, 0, 9)
        );
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reservation_ships_is_cancelled_and_returned_in_parts() {
    let cluster = TestCluster::start().await;
    cluster.receive(1, "A", 10).await;
    let reservation = id();
    let mut client = cluster.reservations(2);
    client.reserve(reserve(&reservation, "A", 6)).await.unwrap();
    let extended = v1::ExtendRequest {
        operation: operation(),
        reservation: key(&reservation),
        ttl_ms: 900_000,
    };
    client.extend(extended).await.unwrap();
    client
        .commit(v1::CommitRequest {
            operation: operation(),
            reservation: key(&reservation),
        })
        .await
        .unwrap();
    let part = |quantity| {
        vec![v1::LineQuantity {
            line: 0,
            quantity,
            warehouse: String::new(),
        }]
    };
    let shipped = v1::ShipRequest {
        operation: operation(),
        reservation: key(&reservation),
        lines: part(4),
    };
    client.ship(shipped).await.unwrap();
    let cancelled = v1::CancelRequest {
        operation: operation(),
        reservation: key(&reservation),
        lines: part(2),
    };
    client.cancel(cancelled).await.unwrap();
    let of = v1::ReservationReturn {
        reservation: key(&reservation),
        lines: part(1),
    };
    let returned = v1::ReturnRequest {
        operation: operation(),
        what: Some(v1::return_request::What::Reservation(of)),
        disposition: v1::Disposition::Damaged.into(),
    };
    client.r#return(returned).await.unwrap();

    let asked = v1::GetReservationRequest {
        reservation: key(&reservation),
        consistency: 0,
    };
    let found = cluster
        .reservations(0)
        .get_reservation(asked)
        .await
        .unwrap()
        .into_inner();
    let line = &found.reservation.as_ref().unwrap().lines[0];
    assert_eq!(
        (line.granted, line.shipped, line.cancelled, line.returned),
        (6, 4, 2, 1)
    );
    assert_eq!(
        found.reservation.as_ref().unwrap().state(),
        v1::ReservationState::Shipped
    );
    let cell = cluster.cell(0, "A").await;
    assert_eq!((cell.on_hand, cell.free, cell.damaged), (7, 6, 1));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_expires_by_itself_and_its_stock_is_sellable_again() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "A", 1).await;
    let reservation = id();
    let mut client = cluster.reservations(0);
    client
        .reserve(v1::ReserveRequest {
            ttl_ms: 1_000,
            ..reserve(&reservation, "A", 1)
        })
        .await
        .unwrap();
    let refused = client.reserve(reserve(&id(), "A", 1)).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::InsufficientStock);
    eventually("the hold expires", || async {
        (cluster.cell(0, "A").await.free == 1).then_some(())
    })
    .await;
    let late = v1::CommitRequest {
        operation: operation(),
        reservation: key(&reservation),
    };
    let status = cluster.reservations(1).commit(late).await.unwrap_err();
    assert!(
        matches!(reason(&status), Reason::Expired | Reason::WrongState),
        "{status:?}"
    );
    assert_eq!(status.code(), Code::FailedPrecondition);
    client.reserve(reserve(&id(), "A", 1)).await.unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_answers_every_item_once_whatever_becomes_of_it() {
    let cluster = TestCluster::start().await;
    let skus: Vec<String> = (0..20).map(|n| format!("SKU-{n}")).collect();
    for sku in &skus {
        cluster.receive(0, sku, 10).await;
    }
    let first = id();
    cluster
        .reservations(0)
        .reserve(reserve(&first, "SKU-0", 1))
        .await
        .unwrap();

    use v1::batch_item::Request as Item;
    let mut items: Vec<Item> = Vec::new();
    for round in 0..12 {
        items.extend(
            skus.iter()
                .map(|sku| Item::Reserve(reserve(&id(), sku, i64::from(round < 11)))),
        );
    }
    // Only another node has seen this one, so this node has to look for it.
    items.push(Item::Commit(v1::CommitRequest {
        operation: operation(),
        reservation: key(&first),
    }));
    items.push(Item::Commit(v1::CommitRequest {
        operation: operation(),
        reservation: key(&id()),
    }));
    let items: Vec<v1::BatchItem> = (0..)
        .zip(items)
        .map(|(tag, request)| v1::BatchItem {
            tag,
            request: Some(request),
        })
        .chain([v1::BatchItem {
            tag: 1_000,
            request: None,
        }])
        .collect();
    let sent = items.len();

    let (requests, outgoing) = tokio::sync::mpsc::channel(8);
    for chunk in items.chunks(50) {
        requests
            .send(v1::BatchRequest {
                items: chunk.to_vec(),
            })
            .await
            .unwrap();
    }
    drop(requests);
    let mut answers = cluster
        .reservations(1)
        .batch(ReceiverStream::new(outgoing))
        .await
        .unwrap()
        .into_inner();
    let mut results = std::collections::BTreeMap::new();
    within_patience("the batch ends", async {
        while let Some(message) = answers.message().await.unwrap() {
            for result in message.results {
                assert!(
                    results.insert(result.tag, result.result.unwrap()).is_none(),
                    "answered twice"
                );
            }
        }
    })
    .await;
    assert_eq!(results.len(), sent);
    use v1::batch_result::Result as Kind;
    let count = |wanted: fn(&Kind) -> bool| results.values().filter(|result| wanted(result)).count();
    // There were 10 of each SKU and one was taken before: of 11 tries for each, 199 succeed in all.
    assert_eq!(count(|result| matches!(result, Kind::Reserved(_))), 199);
    assert_eq!(count(|result| matches!(result, Kind::Transitioned(_))), 1);
    let refused = |wanted: Reason| {
        let of_reason = |result: &&Kind| matches!(result, Kind::Refused(r) if r.reason() == wanted);
        results.values().filter(of_reason).count()
    };
    assert_eq!(refused(Reason::InsufficientStock), 21);
    assert_eq!(refused(Reason::InvalidRequest), 21);
    assert_eq!(refused(Reason::UnknownReservation), 1);
    cluster.stop_all().await;
}
