//! Replicas that move while something goes wrong.

use anyhow::{Context as _, Result, ensure};

use crate::load::Crowd;
use crate::{Cluster, wait_for};

/// Grants that have to come between two moves.
const GRANTS: u64 = 100;

/// Longest time until replicas are where they belong. Their snapshots and histories are small here.
const PATIENCE: &str = "2m";

/// Decides that a node's replicas move to others, and does not wait for the moves.
pub(super) async fn begin_drain(cluster: &Cluster, node: usize) -> Result<()> {
    let planned = cluster
        .operate(&["cluster", "drain", &id(node), "--no-wait"])
        .await?;
    let moves = planned["moves"].as_array().context("a drain tells its moves")?;
    ensure!(!moves.is_empty(), "nothing had to move: {planned}");
    Ok(())
}

/// Waits until a node that is being drained has no replicas, and gives it some again.
pub(super) async fn away_and_back(cluster: &mut Cluster, crowd: &Crowd, node: usize) -> Result<()> {
    // The repeated command waits for the drain that was begun. It works only when the others have heard from
    // a node that was down.
    wait_for("the drain is taken up again", || async {
        cluster
            .operate(&["cluster", "drain", &id(node), "--timeout", PATIENCE])
            .await
            .ok()
    })
    .await?;
    cluster.ready().await?;
    let now = cluster.placement(node).await?;
    let left = now
        .members
        .iter()
        .find(|member| id(node) == member.node_id.to_string());
    ensure!(
        left.is_some_and(|member| member.replicas == 0),
        "a drained node has replicas: {now:?}"
    );
    crowd.more_grants(GRANTS).await?;
    cluster
        .operate(&["cluster", "drain", &id(node), "--undo", "--timeout", PATIENCE])
        .await?;
    settled(cluster).await
}

/// Removes a node from the cluster, and adds one with its name and an empty disk.
pub(super) async fn replace(cluster: &mut Cluster, crowd: &Crowd, node: usize) -> Result<()> {
    cluster
        .operate(&["cluster", "drain", &id(node), "--remove", "--timeout", PATIENCE])
        .await?;
    cluster.end_removed(node)?;
    crowd.more_grants(GRANTS).await?;
    cluster.wipe(node)?;
    cluster.spawn(node)?;
    cluster.admit(&[node]).await?;
    settled(cluster).await?;
    cluster.has_new_replicas(node).await
}

/// Spreads replicas, and waits until each is where it belongs.
pub(super) async fn settled(cluster: &Cluster) -> Result<()> {
    cluster
        .operate(&["cluster", "rebalance", "--timeout", PATIENCE])
        .await?;
    Ok(())
}

fn id(node: usize) -> String {
    (node + 1).to_string()
}
