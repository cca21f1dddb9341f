//! Leaders that are killed or paused while buyers go on, and how long nobody is served.
//!
//! [`run`] starts three nodes with one shard, lets buyers at each of them order one thing after the other,
//! and kills or pauses the leader again and again. A gap is the longest time between two grants, whoever got
//! them, from a little before the fault until buyers are served again. `cargo xtask failover` prints the
//! [`Distribution`] of the gaps.

mod buyers;
mod distribution;

use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast_api::v1;
use holdfast_api::v1::cluster_client::ClusterClient;
use nix::sys::signal::Signal;

pub use distribution::Distribution;

use self::buyers::Buyers;
use crate::accounts::stock;
use crate::{Cluster, ClusterOptions, Shards, Timeouts, wait_for};

/// Buyers at each node.
const BUYERS: usize = 4;
/// Number of grants that come before a fault, and again after it: more than all buyers can have under way.
const GRANTS: u64 = 100;
/// Shard whose leader is killed or paused.
const SHARD: u32 = 0;

/// The kind of blow to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL. It is started again when buyers are served.
    Killed,
    /// SIGSTOP. It goes on when buyers are served.
    Paused,
    /// SIGKILL of all three nodes; they are started again at once.
    AllKilled,
}

/// Settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The blow to the leader each time.
    pub blow: Blow,
    /// Number of blows.
    pub times: usize,
    /// Number of threads that a node serves with, as in the configuration.
    pub threads: Option<u32>,
}

/// The results of a run.
#[derive(Debug, Clone)]
pub struct Shown {
    /// Times in which nobody was served.
    pub gaps: Distribution,
    /// Number of terms beyond one for each time that the leader was killed or paused.
    pub needless_terms: u64,
}

/// Kills or pauses the leader again and again.
///
/// # Errors
/// When buyers are not served again within a minute, or a node does not come back.
pub async fn run(plan: Plan) -> Result<Shown> {
    let mut cluster = Cluster::start_with(ClusterOptions {
        shards: Shards(1).0,
        timeouts: Timeouts::Usual,
        threads: plan.threads,
        ..ClusterOptions::default()
    })
    .await?;
    let skus = stock(&cluster.client()?, BUYERS).await?;
    let buyers = Buyers::start(&cluster, BUYERS, &skus)?;
    buyers.are_served(GRANTS).await?;
    let first_term = term(&cluster).await?;
    let mut gaps = Vec::new();
    for time in 0..plan.times {
        let gap = strike(&mut cluster, &buyers, plan.blow).await;
        gaps.push(gap.with_context(|| format!("{:?}, time {}", plan.blow, time + 1))?);
    }
    let terms = term(&cluster).await? - first_term;
    buyers.stop().await?;
    cluster.verify()?;
    Ok(Shown {
        gaps: Distribution::of(gaps).context("no leader was killed")?,
        needless_terms: terms.saturating_sub(plan.times as u64),
    })
}

async fn strike(cluster: &mut Cluster, buyers: &Buyers, blow: Blow) -> Result<Duration> {
    let leader = cluster.leader(SHARD).await?;
    buyers.are_served(GRANTS).await?;
    buyers.meter().take();
    match blow {
        Blow::Killed => {
            cluster.end(leader, Signal::SIGKILL)?;
            buyers.are_served(GRANTS).await?;
        }
        Blow::Paused => {
            cluster.signal(leader, Signal::SIGSTOP)?;
            let served = buyers.are_served(GRANTS).await;
            // The node continues even when buyers are not served, because a paused process cannot be told to
            // end.
            cluster.signal(leader, Signal::SIGCONT)?;
            served?;
        }
        Blow::AllKilled => {
            cluster.kill_all()?;
            for node in 0..cluster.len() {
                cluster.spawn(node)?;
            }
            buyers.are_served(GRANTS).await?;
        }
    }
    let gap = buyers.meter().take().longest_gap;
    if blow == Blow::Killed {
        cluster.spawn(leader)?;
    }
    cluster.ready().await?;
    all_follow(cluster).await?;
    Ok(gap)
}

/// Waits until all nodes have nearly the same log, so that each of them can be elected.
async fn all_follow(cluster: &Cluster) -> Result<()> {
    wait_for("all nodes follow", || async {
        let mut applied = Vec::new();
        for node in 0..cluster.len() {
            applied.push(replica(cluster, node).await.ok()?.applied_index);
        }
        let (least, most) = (applied.iter().min()?, applied.iter().max()?);
        (most - least < GRANTS).then_some(())
    })
    .await
}

async fn term(cluster: &Cluster) -> Result<u64> {
    let mut terms = Vec::new();
    for node in cluster.running() {
        terms.push(replica(cluster, node).await?.term);
    }
    terms.into_iter().max().context("no node runs")
}

async fn replica(cluster: &Cluster, node: usize) -> Result<v1::ReplicaStatus> {
    let mut client = ClusterClient::new(cluster.channel(node)?);
    let status = client.get_node_status(v1::GetNodeStatusRequest {}).await?;
    let mut replicas = status.into_inner().replicas.into_iter();
    replicas
        .find(|replica| replica.shard == SHARD)
        .context("the node has no replica of the shard")
}
