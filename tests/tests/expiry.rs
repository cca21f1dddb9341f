//! Expiry of holds.

use anyhow::{Result, ensure};
use holdfast_api::v1;
use holdfast_client::Client;
use holdfast_tests::{Cluster, Shards, requests, wait_for};
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_of_two_seconds_expires_and_its_stock_is_sellable_again() -> Result<()> {
    let cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    let held = hold_everything(&client, "SKU-1").await?;
    until_expired(&client, &held).await?;
    client.reserve(requests::reserve("SKU-1", 5)).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_expires_once_across_a_leader_change() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    let held = hold_everything(&client, "SKU-1").await?;
    let leader = cluster.leader(0).await?;
    cluster.end(leader, Signal::SIGKILL)?;
    until_expired(&client, &held).await?;
    client.reserve(requests::reserve("SKU-1", 5)).await?;
    cluster.spawn(leader)?;
    cluster.ready().await?;
    cluster.verify()?;
    let explained = cluster.holdfast_json(&["explain", &uuid::Uuid::from_slice(&held)?.to_string()])?;
    let decisions = explained["decisions"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let expiries = decisions
        .iter()
        .filter(|decision| decision["kind"] == "expired")
        .count();
    ensure!(expiries == 1, "{explained}");
    Ok(())
}

/// Holds all five units for two seconds.
async fn hold_everything(client: &Client, sku: &str) -> Result<bytes::Bytes> {
    client.receive(requests::receive(sku, 5)).await?;
    let request = v1::ReserveRequest {
        ttl_ms: 2_000,
        ..requests::reserve(sku, 5)
    };
    let id = requests::id_of(request.operation.as_ref());
    client.reserve(request).await?;
    let refused = client
        .reserve(requests::reserve(sku, 1))
        .await
        .expect_err("everything is held");
    ensure!(
        refused.reason() == Some(v1::Reason::InsufficientStock),
        "{refused}"
    );
    Ok(id)
}

/// Waits for the expiry. After it a commit is refused, and nothing is held.
async fn until_expired(client: &Client, reservation_id: &bytes::Bytes) -> Result<()> {
    let reservation = wait_for("the hold expires", || async {
        let answer = client.get_reservation(requests::get(reservation_id)).await.ok()?;
        answer
            .reservation
            .filter(|it| it.state() == v1::ReservationState::Expired)
    })
    .await?;
    ensure!(
        (reservation.lines[0].held, reservation.lines[0].released) == (0, 5),
        "{reservation:?}"
    );
    let refused = client
        .commit(requests::commit(reservation_id))
        .await
        .expect_err("it has expired");
    ensure!(refused.reason() == Some(v1::Reason::Expired), "{refused}");
    Ok(())
}
