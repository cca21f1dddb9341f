//! Many buyers at once, through all three nodes.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use futures::future::join_all;
use holdfast_api::v1;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_tests::{Cluster, Shards, requests};
use prost::Message as _;

#[tokio::test(flavor = "multi_thread")]
async fn of_1000_buyers_for_100_units_exactly_100_succeed() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    client.receive(requests::receive("HOT", 100)).await?;
    let channels: Vec<_> = (0..cluster.len())
        .map(|node| cluster.channel(node))
        .collect::<Result<_>>()?;
    let answers = join_all((0..1000).map(|buyer| {
        let mut node = ReservationsClient::new(channels[buyer % channels.len()].clone());
        async move { node.reserve(requests::reserve("HOT", 1)).await }
    }))
    .await;
    let granted = answers.iter().filter(|answer| answer.is_ok()).count();
    for status in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        let refusal = requests::refusal(status);
        let reason = refusal.as_ref().map(v1::Refusal::reason);
        ensure!(
            reason == Some(v1::Reason::InsufficientStock),
            "{status:?} {refusal:?}"
        );
        let shortage = refusal.unwrap_or_default().shortages.remove(0);
        ensure!((shortage.requested, shortage.available) == (1, 0), "{shortage:?}");
    }
    ensure!(granted == 100, "{granted} were granted");
    let cells = client
        .get_stock(v1::GetStockRequest {
            sku: "HOT".to_owned(),
            ..Default::default()
        })
        .await?
        .cells;
    ensure!(
        (cells[0].on_hand, cells[0].free, cells[0].held) == (100, 0, 100),
        "{cells:?}"
    );
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_operation_id_sent_50_times_through_all_nodes_has_one_effect_and_50_equal_answers() -> Result<()>
{
    let cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    client.receive(requests::receive("SKU-1", 100)).await?;
    let channels: Vec<_> = (0..cluster.len())
        .map(|node| cluster.channel(node))
        .collect::<Result<_>>()?;
    let request = requests::reserve("SKU-1", 3);
    let answers = join_all((0..50).map(|caller| {
        let mut node = ReservationsClient::new(channels[caller % channels.len()].clone());
        let request = request.clone();
        async move { node.reserve(request).await }
    }))
    .await;
    let mut first_times = 0;
    let mut distinct = HashSet::new();
    for answer in answers {
        let mut answer = answer?.into_inner();
        let receipt = answer.receipt.as_mut().expect("every answer has a receipt");
        first_times += usize::from(!receipt.replayed);
        receipt.replayed = true;
        distinct.insert(answer.encode_to_vec());
    }
    ensure!(first_times == 1, "{first_times} answers claim to be the first");
    ensure!(distinct.len() == 1, "{} different answers", distinct.len());

    let mut other = request.clone();
    other.lines[0].quantity = 4;
    for channel in channels {
        let status = ReservationsClient::new(channel)
            .reserve(other.clone())
            .await
            .expect_err("another body");
        ensure!(status.code() == tonic::Code::AlreadyExists, "{status:?}");
        let reason = requests::refusal(&status).map(|refusal| refusal.reason());
        ensure!(reason == Some(v1::Reason::OperationIdReused), "{reason:?}");
    }
    let cells = client
        .get_stock(v1::GetStockRequest {
            sku: "SKU-1".to_owned(),
            ..Default::default()
        })
        .await?
        .cells;
    ensure!((cells[0].free, cells[0].held) == (97, 3), "{cells:?}");
    Ok(())
}
