//! Claims that have to be true of a shop when the crowd has gone, whatever happened to the nodes meanwhile.

use std::collections::HashSet;

use anyhow::{Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_api::v1;
use holdfast_client::Client;

use crate::load::Seen;
use crate::{requests, wait_for};

/// Units of each SKU that [`stock`] receives.
pub const STOCK: i64 = 1_000_000;

/// Stocks this many SKUs. Returns their names.
///
/// # Errors
/// When the cluster does not take them.
pub async fn stock(client: &Client, skus: usize) -> Result<Vec<String>> {
    let skus: Vec<_> = (0..skus).map(|sku| format!("SKU-{sku}")).collect();
    for sku in &skus {
        client.receive(requests::receive(sku, STOCK)).await?;
    }
    Ok(skus)
}

/// Checks that each granted reservation is held with all its lines, and that no two grants share an id.
/// Checks also that the held units are exactly the granted ones plus those of unknown requests that turn out
/// to have been granted.
///
/// # Errors
/// Names what is wrong.
pub async fn account_for(client: &Client, skus: &[String], seen: Seen) -> Result<()> {
    let distinct: HashSet<_> = seen.granted.iter().collect();
    ensure!(distinct.len() == seen.granted.len(), "an id was granted twice");
    ensure!(!seen.granted.is_empty());

    let settled: i64 = futures::stream::iter(&seen.unknown)
        .map(|request| client.reserve(request.clone()))
        .buffered(32)
        .map_ok(|answer| answer.lines.iter().map(|line| line.granted).sum::<i64>())
        .try_fold(0, |sum, units| async move { Ok(sum + units) })
        .await?;

    let granted = futures::stream::iter(&seen.granted)
        .map(|id| async move {
            let answer = client.get_reservation(requests::get(id)).await?;
            let reservation = answer.reservation.unwrap_or_default();
            ensure!(
                reservation.state() == v1::ReservationState::Held,
                "{reservation:?}"
            );
            ensure!(
                reservation.lines.iter().all(|line| line.held == line.requested),
                "{reservation:?}"
            );
            Ok(reservation.lines.iter().map(|line| line.held).sum::<i64>())
        })
        .buffer_unordered(32)
        .try_fold(0, |sum, held| async move { Ok(sum + held) })
        .await?;

    // Orders that were left undecided are aborted after a while.
    wait_for("the acknowledged units, and no others, are held", || async {
        (held_units(client, skus).await.ok()? == granted + settled).then_some(())
    })
    .await
}

async fn held_units(client: &Client, skus: &[String]) -> Result<i64> {
    let mut held = 0;
    for sku in skus {
        let stock = v1::GetStockRequest {
            sku: sku.clone(),
            ..Default::default()
        };
        for cell in client.get_stock(stock).await?.cells {
            ensure!(
                cell.on_hand == STOCK && cell.free + cell.held == STOCK,
                "{cell:?}"
            );
            held += cell.held;
        }
    }
    Ok(held)
}
