//! Orders over several shards that want the same last units.

use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use futures::future::try_join_all;
use holdfast_api::v1;
use holdfast_client::{Client, ClientError};
use holdfast_tests::{Cluster, Shards, requests};

const ROUNDS: usize = 1000;
const LINES: usize = 5;
const AT_ONCE: usize = 16;

fn skus(round: usize) -> Vec<String> {
    (0..LINES).map(|line| format!("LAST-{round}-{line}")).collect()
}

fn order(skus: &[String]) -> v1::ReserveRequest {
    requests::order(&skus.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns whether the order was granted. It may only be refused because there is not enough; anything else
/// fails the test. After an attempt without an answer, the refusal may have been made certain by sealing the
/// id, which a repeat then reports.
fn won(answer: Result<v1::ReserveResponse, ClientError>) -> Result<bool> {
    match answer {
        Ok(response) => {
            ensure!(response.lines.len() == LINES && response.lines.iter().all(|line| line.granted == 1));
            Ok(true)
        }
        Err(ClientError::Refused(refusal))
            if matches!(
                refusal.reason(),
                v1::Reason::InsufficientStock | v1::Reason::OperationSealed
            ) =>
        {
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// Sends two orders for the last unit of each of five SKUs. The second one names them in the opposite order.
async fn compete(round: usize, clients: Arc<[Client]>) -> Result<usize> {
    let skus = skus(round);
    let arrivals = skus
        .iter()
        .map(|sku| clients[0].receive(requests::receive(sku, 1)));
    try_join_all(arrivals).await?;
    let reversed: Vec<String> = skus.iter().rev().cloned().collect();
    let (first, second) = (order(&skus), order(&reversed));
    let ids = [&first, &second].map(|order| order.operation.clone().unwrap_or_default().operation_id);
    let (first, second) = tokio::join!(
        clients[round % clients.len()].reserve(first),
        clients[(round + 1) % clients.len()].reserve(second)
    );
    let winners = [won(first)?, won(second)?];
    let winner = winners.iter().position(|won| *won);
    let winner = winner.with_context(|| format!("round {round}: nobody won"))?;
    ensure!(winners != [true, true], "round {round}: both won");
    let read = v1::GetReservationRequest {
        reservation: requests::key(&ids[winner]),
        consistency: v1::Consistency::Linearizable.into(),
    };
    let held = clients[0]
        .get_reservation(read)
        .await?
        .reservation
        .unwrap_or_default();
    ensure!(
        held.state() == v1::ReservationState::Held && held.lines.len() == LINES,
        "round {round}: {held:?}"
    );
    Ok(winner)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_orders_for_the_last_units_exactly_one_wins_1000_times_over() -> Result<()> {
    let cluster = Cluster::start(Shards(5)).await?;
    let clients: Arc<[Client]> = (0..3)
        .map(|_| cluster.client())
        .collect::<Result<Vec<_>>>()?
        .into();
    let mut rounds = futures::stream::iter((0..ROUNDS).map(|round| compete(round, Arc::clone(&clients))))
        .buffer_unordered(AT_ONCE);
    let mut wins = [0_usize; 2];
    while let Some(winner) = rounds.next().await {
        wins[winner?] += 1;
    }
    ensure!(wins.iter().sum::<usize>() == ROUNDS, "{wins:?}");
    drop(rounds);

    let report = cluster.verify()?;
    ensure!(report["ok"] == true, "{report}");
    for round in 0..ROUNDS {
        for sku in skus(round) {
            let stock = v1::GetStockRequest {
                sku,
                ..Default::default()
            };
            let cells = clients[0].get_stock(stock).await?.cells;
            ensure!(
                (cells[0].on_hand, cells[0].free, cells[0].held) == (1, 0, 1),
                "round {round}: {cells:?}"
            );
        }
    }
    Ok(())
}
