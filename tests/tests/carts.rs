//! Uses beside buying, on real nodes: a cart that changes, an order that is saved twice, a delivery that is
//! booked late, a feed of the past.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use holdfast_api::v1;
use holdfast_client::{Client, ClientError};
use holdfast_tests::{Cluster, Shards, requests};

const COMPETITORS: usize = 100;
const TURNS: usize = 60;

async fn stock(client: &Client, sku: &str) -> Result<v1::Cell> {
    let request = v1::GetStockRequest {
        sku: sku.to_owned(),
        ..Default::default()
    };
    let cells = client.get_stock(request).await?.cells;
    cells.into_iter().next().context("the SKU has no cell")
}

fn id_of(request: &v1::ReserveRequest) -> Bytes {
    requests::id_of(request.operation.as_ref())
}

fn reason(answer: &Result<v1::ReserveResponse, ClientError>) -> Option<v1::Reason> {
    match answer {
        Err(ClientError::Refused(refusal)) => Some(refusal.reason()),
        _ => None,
    }
}

/// Asks for the last unit again and again, and counts refusals. A grant fails the test.
async fn compete(client: Client, is_over: Arc<AtomicBool>, refused: Arc<AtomicU64>) -> Result<()> {
    while !is_over.load(Ordering::Relaxed) {
        let answer = client.reserve(requests::reserve("LAST", 1)).await;
        match reason(&answer) {
            Some(v1::Reason::InsufficientStock | v1::Reason::OperationSealed) => {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            // These may be tried again: nothing was taken.
            Some(v1::Reason::Contended | v1::Reason::Overloaded) => {}
            _ => anyhow::bail!("a competitor was told {answer:?}"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cart_with_the_last_unit_changes_its_other_line_under_100_competitors() -> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let clients: Vec<Client> = (0..3).map(|_| cluster.client()).collect::<Result<_>>()?;
    clients[0].receive(requests::receive("LAST", 1)).await?;
    // Some of these SKUs live in the shard of the last unit, most do not.
    let others: Vec<String> = (0..8).map(|number| format!("OTHER-{number}")).collect();
    for sku in &others {
        clients[0].receive(requests::receive(sku, 5)).await?;
    }
    let first = requests::order(&["LAST", &others[0]]);
    let began = id_of(&first);
    let mut held = began.clone();
    clients[0].reserve(first).await?;
    let (is_over, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let competitors: Vec<_> = (0..COMPETITORS)
        .map(|number| {
            let client = clients[number % clients.len()].clone();
            tokio::spawn(compete(client, Arc::clone(&is_over), Arc::clone(&refused)))
        })
        .collect();
    for turn in 0..TURNS {
        let skus: Vec<&str> = match turn % 3 {
            0 => vec![&others[turn % others.len()], "LAST"],
            1 => vec!["LAST"],
            _ => vec![
                "LAST",
                &others[turn % others.len()],
                &others[(turn + 3) % others.len()],
            ],
        };
        let lines = skus.len();
        let mut change = requests::order(&skus);
        change.replaces = requests::key(&held);
        let new = id_of(&change);
        let granted = loop {
            let answer = clients[turn % clients.len()].reserve(change.clone()).await;
            match reason(&answer) {
                Some(v1::Reason::Contended | v1::Reason::Overloaded) => {}
                _ => break answer.with_context(|| format!("turn {turn}"))?,
            }
        };
        ensure!(
            granted.lines.len() == lines && granted.lines.iter().all(|line| line.granted == 1),
            "turn {turn}: {granted:?}"
        );
        held = new;
    }
    // A replacement that cannot be granted leaves the cart as it is.
    let mut greedy = requests::order(&["LAST", "OTHER-1"]);
    greedy.lines[1].quantity = 99;
    greedy.replaces = requests::key(&held);
    let answer = clients[1].reserve(greedy).await;
    ensure!(
        reason(&answer) == Some(v1::Reason::InsufficientStock),
        "{answer:?}"
    );
    clients[2].commit(requests::commit(&held)).await?;
    is_over.store(true, Ordering::Relaxed);
    for competitor in competitors {
        competitor.await??;
    }
    ensure!(refused.load(Ordering::Relaxed) > 0, "nobody competed");

    let last = stock(&clients[0], "LAST").await?;
    ensure!(
        (last.on_hand, last.free, last.held + last.committed) == (1, 0, 1),
        "{last:?}"
    );
    let report = cluster.verify()?;
    ensure!(report["ok"] == true, "{report}");
    let explained =
        |id: &Bytes| cluster.holdfast_json(&["explain", &uuid::Uuid::from_slice(id)?.to_string()]);
    let (first, last) = (explained(&began)?, explained(&held)?);
    ensure!(
        first["replaced_by"].is_string() && first["replaces"].is_null(),
        "{first}"
    );
    ensure!(
        last["replaces"].is_string() && last["replaced_by"].is_null(),
        "{last}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_under_two_ids_is_held_once() -> Result<()> {
    const DOCUMENTS: usize = 100;
    let cluster = Cluster::start(Shards(4)).await?;
    let clients: Vec<Client> = (0..3).map(|_| cluster.client()).collect::<Result<_>>()?;
    let skus: Vec<String> = (0..6).map(|number| format!("SHIRT-{number}")).collect();
    let units = 2 * DOCUMENTS as i64;
    try_join_all(
        skus.iter()
            .map(|sku| clients[0].receive(requests::receive(sku, units))),
    )
    .await?;
    let saved = |document: usize| {
        // The second request has another line in front. The document's shard decides about it, not the shard
        // of its first SKU.
        let lines = [
            vec![skus[document % 6].as_str(), &skus[(document + 1) % 6]],
            vec![skus[(document + 3) % 6].as_str()],
        ];
        lines.map(|skus| {
            let mut request = requests::order(&skus);
            if let Some(operation) = &mut request.operation {
                operation.reference = format!("order-{document}");
            }
            request.unique_reference = true;
            request
        })
    };
    let saves = (0..DOCUMENTS).map(|document| {
        let clients = &clients;
        async move {
            let [first, second] = saved(document);
            let ids = [id_of(&first), id_of(&second)];
            let save = async |client: &Client, request: v1::ReserveRequest| loop {
                let answer = client.reserve(request.clone()).await;
                if reason(&answer) != Some(v1::Reason::Contended) {
                    return answer;
                }
            };
            let (first, second) = tokio::join!(
                save(&clients[document % 3], first),
                save(&clients[(document + 1) % 3], second)
            );
            let held = [first.is_ok(), second.is_ok()];
            let refused = [reason(&first), reason(&second)];
            ensure!(
                (held[0] != held[1]) && refused.contains(&Some(v1::Reason::ReferenceTaken)),
                "document {document}: {first:?}, {second:?}"
            );
            Ok(ids[usize::from(held[1])].clone())
        }
    });
    let held = try_join_all(saves).await?;
    // A commit keeps the reference taken, a release frees it.
    clients[0].commit(requests::commit(&held[0])).await?;
    let release = v1::ReleaseRequest {
        operation: Some(requests::operation()),
        reservation: requests::key(&held[1]),
    };
    clients[0].release(release).await?;
    let [again, _] = saved(0);
    let answer = clients[1].reserve(again).await;
    ensure!(reason(&answer) == Some(v1::Reason::ReferenceTaken), "{answer:?}");
    let [again, _] = saved(1);
    clients[1].reserve(again).await?;
    let report = cluster.verify()?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_was_counted_before_it_was_booked_is_there_once() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    client.receive(requests::receive("TEA", 20)).await?;
    let read = v1::GetStockRequest {
        sku: "TEA".to_owned(),
        ..Default::default()
    };
    let before = client.get_stock(read).await?.read.context("no position")?;
    let count = v1::CountRequest {
        operation: Some(requests::operation()),
        sku: "TEA".to_owned(),
        warehouse: requests::WAREHOUSE.to_owned(),
        counted: 56,
        as_of_seq: None,
    };
    client.count(count).await?;
    let mut delivery = requests::receive("TEA", 36);
    if let Some(operation) = &mut delivery.operation {
        operation.as_of = vec![v1::AsOfPosition {
            shard: None,
            seq: before.change_seq,
        }];
    }
    client.receive(delivery.clone()).await?;
    client.receive(delivery.clone()).await?;
    let cell = stock(&client, "TEA").await?;
    ensure!((cell.on_hand, cell.free) == (56, 56), "{cell:?}");
    // Another shard's change says nothing about this one.
    if let Some(operation) = &mut delivery.operation {
        operation.operation_id = holdfast_client::new_operation_id();
        let shard = before.position.context("no position")?.shard;
        operation.as_of[0].shard = Some(1 - shard);
    }
    let refused = client.receive(delivery).await;
    ensure!(
        matches!(&refused, Err(ClientError::Refused(refusal)) if refusal.reason() == v1::Reason::InvalidRequest),
        "{refused:?}"
    );
    let report = cluster.verify()?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_over_several_shards_that_left_before_a_count_is_booked_by_each_shards_position()
-> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let client = cluster.client()?;
    let skus: Vec<String> = (0..6).map(|number| format!("BOOK-{number}")).collect();
    for sku in &skus {
        client.receive(requests::receive(sku, 3)).await?;
    }
    let names: Vec<&str> = skus.iter().map(String::as_str).collect();
    let order = requests::order(&names);
    let id = id_of(&order);
    client.reserve(order).await?;
    client.commit(requests::commit(&id)).await?;
    let positions = client.get_positions(v1::GetPositionsRequest {}).await?.shards;
    for sku in &skus {
        let count = v1::CountRequest {
            operation: Some(requests::operation()),
            sku: sku.clone(),
            warehouse: requests::WAREHOUSE.to_owned(),
            counted: 2,
            as_of_seq: None,
        };
        client.count(count).await?;
    }
    let mut ship = v1::ShipRequest {
        operation: Some(requests::operation()),
        reservation: requests::key(&id),
        lines: Vec::new(),
    };
    if let Some(operation) = &mut ship.operation {
        let as_of = |position: &v1::ShardPosition| v1::AsOfPosition {
            shard: Some(position.shard),
            seq: position.last_seq,
        };
        operation.as_of = positions.iter().map(as_of).collect();
        operation.occurred_at_ms = Some(positions[0].log_time_ms.saturating_sub(3_600_000));
    }
    client.ship(ship).await?;
    for sku in &skus {
        let cell = stock(&client, sku).await?;
        ensure!((cell.on_hand, cell.free, cell.committed) == (2, 2, 0), "{cell:?}");
    }
    let report = cluster.verify()?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}
