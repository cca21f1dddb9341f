//! The largest orders in the largest batches, from the request to the archive.

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use holdfast_api::v1;
use holdfast_api::v1::batch_item::Request as Item;
use holdfast_api::v1::batch_result::Result as Kind;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_tests::{Cluster, Shards, requests, wait_for};
use prost::Message as _;

const LINES: usize = 1024;
const ORDERS: usize = 160;

fn sku(line: usize) -> String {
    format!("SKU-{line:04}")
}

/// Sends one message, and sends the items that had no answer in time again, until all are answered. Returns
/// the results in any order.
async fn send(cluster: &Cluster, node: usize, items: Vec<Item>) -> Result<Vec<Kind>> {
    let mut open = items;
    let mut done = Vec::new();
    while !open.is_empty() {
        let sent = std::mem::take(&mut open);
        for (tag, result) in send_once(cluster, node, sent.clone()).await? {
            match result {
                Kind::Refused(refusal) if holdfast_client::is_retryable(refusal.reason()) => {
                    let item = sent.get(usize::try_from(tag)?);
                    open.push(item.context("a result of nothing that was sent")?.clone());
                }
                result => done.push(result),
            }
        }
    }
    Ok(done)
}

/// Sends one message and returns its results by their tags.
async fn send_once(cluster: &Cluster, node: usize, items: Vec<Item>) -> Result<Vec<(u64, Kind)>> {
    let sent = items.len();
    let items = (0..).zip(items).map(|(tag, request)| v1::BatchItem {
        tag,
        request: Some(request),
    });
    let message = v1::BatchRequest {
        items: items.collect(),
    };
    let mut client = ReservationsClient::new(cluster.channel(node)?);
    let answers = client.batch(futures::stream::iter([message])).await?.into_inner();
    let messages: Vec<v1::BatchResponse> = answers.try_collect().await?;
    let results = messages.into_iter().flat_map(|message| message.results);
    let results = results.filter_map(|result| Some((result.tag, result.result?)));
    let results: Vec<(u64, Kind)> = results.collect();
    ensure!(results.len() == sent, "{} of {sent} are answered", results.len());
    Ok(results)
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_of_160_orders_of_1024_lines_in_10_kb_are_applied_served_archived_and_verified() -> Result<()>
{
    let mut cluster = Cluster::start(Shards(1)).await?;
    let stock = (0..LINES).map(|line| Item::Receive(requests::receive(&sku(line), 1_000)));
    let stocked = send(&cluster, 0, stock.collect()).await?;
    ensure!(stocked.iter().all(|result| matches!(result, Kind::Stocked(_))));
    let order = || {
        let line = |line| v1::ReserveLine {
            sku: sku(line),
            quantity: 1,
            source: None,
        };
        v1::ReserveRequest {
            lines: (0..LINES).map(line).collect(),
            ttl_ms: 3_600_000,
            ..requests::reserve("", 1)
        }
    };
    let orders: Vec<v1::ReserveRequest> = (0..ORDERS).map(|_| order()).collect();
    for some in orders.chunks(40) {
        let reserved = send(&cluster, 1, some.iter().cloned().map(Item::Reserve).collect()).await?;
        ensure!(reserved.iter().all(|result| matches!(result, Kind::Reserved(_))));
    }
    let ids = orders
        .iter()
        .map(|order| requests::id_of(order.operation.as_ref()));
    let commits: Vec<v1::CommitRequest> = ids.map(|id| requests::commit(&id)).collect();
    let bytes: usize = commits.iter().map(prost::Message::encoded_len).sum();
    ensure!(bytes < 20_000, "{bytes}");
    let committed = send(&cluster, 2, commits.into_iter().map(Item::Commit).collect()).await?;
    let other = committed
        .iter()
        .find(|result| !matches!(result, Kind::Transitioned(_)));
    ensure!(other.is_none(), "{other:?}");

    // All replicas apply it, and apply it again after a kill.
    cluster.kill_all()?;
    for node in 0..cluster.len() {
        cluster.spawn(node)?;
    }
    cluster.ready().await?;
    let total = (LINES + 2 * ORDERS * LINES) as u64;
    for node in 0..cluster.len() {
        let messages = wait_for("the replica has applied all", || async {
            let messages = all_changes(&cluster, node).await.ok()?;
            (messages.last()?.through_seq == total).then_some(messages)
        })
        .await?;
        let seqs = messages.iter().flat_map(|message| &message.changes);
        ensure!(seqs.map(|change| change.seq).eq(1..=total), "node {node}");
        ensure!(messages.iter().all(|message| message.encoded_len() < 4 << 20));
    }
    cluster.verify()?;
    let lake = cluster.folder().join("lake").display().to_string();
    let exported = cluster.holdfast_json(&["changes", "export", "--to", &lake])?;
    ensure!(exported["changes"].as_u64() == Some(total), "{exported}");
    cluster.holdfast_json(&["verify", "--archive", &lake])?;
    Ok(())
}

/// Reads all changes, by a client with gRPC's usual limit for a message.
async fn all_changes(cluster: &Cluster, node: usize) -> Result<Vec<v1::TailChangesResponse>> {
    let mut client = ChangesClient::new(cluster.channel(node)?);
    let request = v1::TailChangesRequest {
        from_seq: 1,
        ..Default::default()
    };
    let answers = client.tail_changes(request).await?.into_inner();
    answers.try_collect().await.context("a stream of changes")
}
