//! Many callers at the same time.

use std::collections::BTreeSet;

use holdfast_api::v1::{self, Reason};
use tonic::Code;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_buyers_get_exactly_the_hundred_units_there_are() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "HOT", 100).await;
    let clients: Vec<_> = (0..3).map(|index| cluster.reservations(index)).collect();
    let buyers: Vec<_> = (0..1_000)
        .map(|buyer| {
            let client = clients[buyer % 3].clone();
            tokio::spawn(async move {
                let operation_id = id();
                retried(|| {
                    let mut client = client.clone();
                    let request = reserve(&operation_id, "HOT", 1);
                    async move { client.reserve(request).await }
                })
                .await
            })
        })
        .collect();
    let mut granted = 0;
    for buyer in buyers {
        match buyer.await.unwrap() {
            Ok(response) => granted += response.lines[0].granted,
            Err(status) => assert_eq!(reason(&status), Reason::InsufficientStock),
        }
    }
    assert_eq!(granted, 100);
    for index in 0..3 {
        let cell = cluster.cell(index, "HOT").await;
        assert_eq!((cell.on_hand, cell.free, cell.held), (100, 0, 100));
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operation_id_sent_fifty_times_has_one_effect_and_fifty_equal_answers() {
    let cluster = TestCluster::start().await;
    cluster.receive(0, "A", 100).await;
    let operation_id = id();
    let calls: Vec<_> = (0..50)
        .map(|call| {
            let client = cluster.reservations(call % 3);
            let request = reserve(&operation_id, "A", 7);
            tokio::spawn(async move {
                retried(|| {
                    let (mut client, request) = (client.clone(), request.clone());
                    async move { client.reserve(request).await }
                })
                .await
                .unwrap()
            })
        })
        .collect();
    let mut first_times = 0;
    let mut answers = BTreeSet::new();
    for call in calls {
        let mut response = call.await.unwrap();
        let receipt = response.receipt.as_mut().unwrap();
        first_times += i32::from(!receipt.replayed);
        receipt.replayed = false;
        answers.insert(format!("{response:?}"));
    }
    assert_eq!((first_times, answers.len()), (1, 1), "{answers:?}");
    let cell = cluster.cell(0, "A").await;
    assert_eq!((cell.free, cell.held), (93, 7));

    let other_body = reserve(&operation_id, "A", 8);
    let status = cluster.reservations(1).reserve(other_body).await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::AlreadyExists, Reason::OperationIdReused)
    );
    assert_eq!(cluster.cell(0, "A").await.held, 7);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_stock_is_one_moment_of_each_shard_while_it_goes_on() {
    let cluster = TestCluster::start().await;
    for n in 0..40 {
        cluster.receive(0, &format!("SKU-{n}"), 1_000).await;
    }
    let mut client = cluster.reservations(0);
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let traffic = tokio::spawn(async move {
        let mut n = 0;
        while !*stopped.borrow() {
            n += 1;
            client
                .reserve(reserve(&id(), &format!("SKU-{}", n % 40), 1))
                .await
                .unwrap();
        }
        n
    });
    for index in 0..3 {
        let request = v1::ListStockRequest {
            shard: None,
            consistency: 0,
        };
        let mut stream = cluster
            .stock(index)
            .list_stock(request)
            .await
            .unwrap()
            .into_inner();
        let (mut cells, mut digests) = (0, 0);
        while let Some(message) = stream.message().await.unwrap() {
            let read = message.read.unwrap();
            let shard = read.position.unwrap().shard;
            // The quantity held at that change is the number of reservations among the changes up to it.
            let held: i64 = message.cells.iter().map(|cell| cell.held).sum();
            let reserved = cluster
                .all_changes(index, shard)
                .await
                .iter()
                .filter(|change| change.seq <= read.change_seq && change.kind() == v1::ChangeKind::Reserved)
                .count();
            assert_eq!(held, reserved as i64, "shard {shard} at {read:?}");
            cells += message.cells.len();
            digests += usize::from(message.state_digest.len() == 32);
        }
        assert_eq!((cells, digests), (40, 4));
    }
    stop.send(true).unwrap();
    assert!(traffic.await.unwrap() > 0);
    cluster.stop_all().await;
}
