//! Goods that arrive through the batch stream.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_api::v1::{self, Reason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};
use v1::batch_item::Request as Item;
use v1::batch_result::Result as Kind;

use crate::support::*;

/// One batch stream to one node.
pub(crate) struct Batch {
    requests: mpsc::Sender<v1::BatchRequest>,
    answers: Streaming<v1::BatchResponse>,
}

impl Batch {
    pub(crate) async fn open(cluster: &TestCluster, index: usize) -> Self {
        let (requests, outgoing) = mpsc::channel(8);
        let mut client = cluster.reservations(index);
        let answers = client.batch(ReceiverStream::new(outgoing)).await.unwrap();
        let answers = answers.into_inner();
        Self { requests, answers }
    }

    /// Sends one message and waits for the results of all its items, in the order of the items.
    pub(crate) async fn send(&mut self, items: Vec<Item>) -> Vec<Kind> {
        let sent = items.len();
        let items = (0..).zip(items).map(|(tag, request)| v1::BatchItem {
            tag,
            request: Some(request),
        });
        let items = items.collect();
        self.requests.send(v1::BatchRequest { items }).await.unwrap();
        let mut results = BTreeMap::new();
        while results.len() < sent {
            let message = within_patience("the items are answered", self.answers.message()).await;
            for result in message.unwrap().expect("the stream goes on").results {
                let before = results.insert(result.tag, result.result.unwrap());
                assert!(before.is_none(), "answered twice: {before:?}");
            }
        }
        results.into_values().collect()
    }

    /// Ends the sending side, and checks that the stream ends without an error.
    async fn end(mut self) {
        drop(self.requests);
        let end = within_patience("the stream ends", self.answers.message()).await;
        assert_eq!(end.unwrap(), None);
    }
}

pub(crate) fn arrival(operation_id: &Bytes, sku: &str, quantity: i64) -> v1::ReceiveRequest {
    v1::ReceiveRequest {
        operation: operation_with(operation_id.clone()),
        sku: sku.into(),
        warehouse: "W1".into(),
        quantity,
        supply_id: String::new(),
    }
}

fn stocked(result: Kind) -> v1::StockResponse {
    match result {
        Kind::Stocked(answer) => answer,
        other => panic!("not stocked: {other:?}"),
    }
}

fn refused(result: &Kind) -> Reason {
    match result {
        Kind::Refused(refusal) => refusal.reason(),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn arrivals_in_a_batch_go_to_the_shards_of_their_skus_through_any_node() {
    let cluster = TestCluster::start().await;
    let skus: Vec<String> = (0..20).map(|n| format!("SKU-{n}")).collect();
    let mut shards_of_nodes = Vec::new();
    for index in 0..3 {
        let mut batch = Batch::open(&cluster, index).await;
        let arrivals = skus.iter().map(|sku| Item::Receive(arrival(&id(), sku, 10)));
        let results = batch.send(arrivals.collect()).await;
        let mut shards = Vec::new();
        for (sku, result) in skus.iter().zip(results) {
            let answer = stocked(result);
            let cell = answer.cell.unwrap();
            let on_hand = 10 * (index as i64 + 1);
            assert_eq!(
                (&cell.sku, cell.on_hand, cell.free),
                (sku, on_hand, on_hand),
                "through node {index}"
            );
            let decided = answer.receipt.unwrap();
            assert!(!decided.replayed);
            shards.push(decided.position.unwrap().shard);
        }
        shards_of_nodes.push(shards);
        batch.end().await;
    }
    // A shard has one leader, so two of the three nodes did not decide for themselves.
    let distinct: BTreeSet<_> = shards_of_nodes.iter().collect();
    assert_eq!(distinct.len(), 1, "{shards_of_nodes:?}");
    let used: BTreeSet<_> = shards_of_nodes.iter().flatten().collect();
    assert!(used.len() > 1, "the SKUs live in one shard");
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_arrival_counts_once_whether_it_comes_in_a_batch_or_in_a_call() {
    let cluster = TestCluster::start().await;
    let in_batch_first = arrival(&id(), "A", 10);
    let in_call_first = arrival(&id(), "B", 10);
    let mut batch = Batch::open(&cluster, 0).await;
    let first = batch.send(vec![Item::Receive(in_batch_first.clone())]).await;
    let first = stocked(first.into_iter().next().unwrap()).receipt.unwrap();
    let call = cluster.stock(1).receive(in_batch_first.clone()).await.unwrap();
    let replayed = v1::StockResponse {
        receipt: Some(v1::Receipt {
            replayed: true,
            ..first
        }),
        cell: None,
    };
    assert_eq!(call.into_inner(), replayed);

    let call = cluster.stock(1).receive(in_call_first.clone()).await.unwrap();
    let again = vec![
        Item::Receive(in_batch_first.clone()),
        Item::Receive(in_call_first),
        Item::Receive(v1::ReceiveRequest {
            quantity: 11,
            ..in_batch_first
        }),
    ];
    let mut results = batch.send(again).await.into_iter();
    assert_eq!(stocked(results.next().unwrap()), replayed);
    let of_call = stocked(results.next().unwrap()).receipt.unwrap();
    assert!(of_call.replayed);
    assert_eq!(of_call.position, call.into_inner().receipt.unwrap().position);
    assert_eq!(refused(&results.next().unwrap()), Reason::OperationIdReused);
    batch.end().await;
    for sku in ["A", "B"] {
        assert_eq!(cluster.cell(2, sku).await.on_hand, 10, "{sku}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_arrival_is_refused_as_in_a_call_and_the_stream_goes_on() {
    let cluster = TestCluster::start().await;
    let good = || arrival(&id(), "A", 5);
    let bad = [
        v1::ReceiveRequest {
            quantity: 0,
            ..good()
        },
        v1::ReceiveRequest {
            operation: None,
            ..good()
        },
        v1::ReceiveRequest {
            sku: "not  two".into(),
            ..good()
        },
        v1::ReceiveRequest {
            warehouse: String::new(),
            ..good()
        },
        v1::ReceiveRequest {
            supply_id: "no spaces".into(),
            ..good()
        },
    ];
    let mut batch = Batch::open(&cluster, 1).await;
    let mut items: Vec<Item> = bad.iter().cloned().map(Item::Receive).collect();
    items.push(Item::Receive(good()));
    let mut results = batch.send(items).await;
    assert_eq!(stocked(results.pop().unwrap()).cell.unwrap().on_hand, 5);
    for (request, result) in bad.into_iter().zip(results) {
        let status = cluster.stock(1).receive(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let Kind::Refused(refusal) = result else {
            panic!("not refused: {result:?}")
        };
        assert_eq!(refusal.reason(), Reason::InvalidRequest);
        assert_eq!(refusal.message, status.message());
    }
    let largest = v1::ReceiveRequest {
        quantity: i64::MAX,
        ..good()
    };
    let reservation = id();
    let mixed = vec![
        Item::Reserve(reserve(&reservation, "A", 2)),
        Item::Receive(arrival(&id(), "B", 7)),
        Item::Reserve(reserve(&id(), "C", 1)),
        Item::Receive(largest),
    ];
    let mut results = batch.send(mixed).await.into_iter();
    assert!(matches!(results.next(), Some(Kind::Reserved(_))));
    assert_eq!(stocked(results.next().unwrap()).cell.unwrap().on_hand, 7);
    assert_eq!(refused(&results.next().unwrap()), Reason::InsufficientStock);
    assert_eq!(refused(&results.next().unwrap()), Reason::Overflow);
    let commit = Item::Commit(v1::CommitRequest {
        operation: operation(),
        reservation: key(&reservation),
    });
    let results = batch.send(vec![commit, Item::Receive(good())]).await;
    assert!(matches!(
        results.as_slice(),
        [Kind::Transitioned(_), Kind::Stocked(_)]
    ));
    batch.end().await;
    let cell = cluster.cell(0, "A").await;
    assert_eq!((cell.on_hand, cell.free, cell.committed), (10, 8, 2));
    cluster.stop_all().await;
}
