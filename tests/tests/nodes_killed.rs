//! The loss of nodes: acknowledged operations survive SIGKILL of the leader, and of all nodes at once.

use anyhow::{Result, ensure};
use holdfast_tests::accounts::{account_for, stock};
use holdfast_tests::load::Crowd;
use holdfast_tests::{Cluster, Shards, requests, wait_for};
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn every_acknowledged_reservation_is_there_once_after_all_nodes_were_killed() -> Result<()> {
    let mut cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 8).await?;
    let crowd = Crowd::start(&client, 32, &skus, 1)?;
    wait_for("500 grants", || async { (crowd.grants() >= 500).then_some(()) }).await?;
    cluster.kill_all()?;
    let before = crowd.grants();
    for node in 0..cluster.len() {
        cluster.spawn(node)?;
    }
    cluster.ready().await?;
    wait_for("100 more grants", || async {
        (crowd.grants() >= before + 100).then_some(())
    })
    .await?;
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_leader_loses_nothing_and_another_takes_over() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 4).await?;
    let crowd = Crowd::start(&client, 32, &skus, 1)?;
    for _ in 0..3 {
        let before = crowd.grants();
        wait_for("200 more grants", || async {
            (crowd.grants() >= before + 200).then_some(())
        })
        .await?;
        let leader = cluster.leader(0).await?;
        cluster.end(leader, Signal::SIGKILL)?;
        let at_kill = crowd.grants();
        wait_for("grants without the old leader", || async {
            (crowd.grants() >= at_kill + 100).then_some(())
        })
        .await?;
        cluster.spawn(leader)?;
        cluster.ready().await?;
    }
    let seen = crowd.stop().await?;
    eprintln!(
        "longest time without a grant for one buyer: {:?}",
        seen.longest_gap
    );
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_over_several_shards_are_whole_or_not_there_whoever_was_killed() -> Result<()> {
    let mut cluster = Cluster::start(Shards(4)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 16).await?;
    let crowd = Crowd::start(&client, 16, &skus, 5)?;
    for shard in [0, 2, 3] {
        let before = crowd.grants();
        wait_for("50 more orders", || async {
            (crowd.grants() >= before + 50).then_some(())
        })
        .await?;
        let leader = cluster.leader(shard).await?;
        cluster.end(leader, Signal::SIGKILL)?;
        let at_kill = crowd.grants();
        wait_for("orders without the old leader", || async {
            (crowd.grants() >= at_kill + 20).then_some(())
        })
        .await?;
        cluster.spawn(leader)?;
        cluster.ready().await?;
    }
    cluster.kill_all()?;
    for node in 0..cluster.len() {
        cluster.spawn(node)?;
    }
    cluster.ready().await?;
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_asked_to_stop_hands_over_and_ends_well() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 1).await?;
    let leader = cluster.leader(0).await?;
    let status = cluster.end(leader, Signal::SIGTERM)?;
    ensure!(
        status.success(),
        "the node ended with {status}:\n{}",
        cluster.log(leader)
    );
    client.reserve(requests::reserve(&skus[0], 1)).await?;
    ensure!(cluster.leader(0).await? != leader);
    Ok(())
}
