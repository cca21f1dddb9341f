//! Causes of the faults, and the checks that the cluster bears them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::{Fault, moves};
use crate::load::Crowd;
use crate::{Cluster, Network, Region};

/// Number of grants that have to come while the fault lasts, if a majority is left.
const GRANTS_MEANWHILE: u64 = 100;
/// Number of grants that have to come when the fault is over.
const GRANTS_AFTERWARDS: u64 = 100;
/// Delay of each piece of data between nodes on a slow network: a fifth of the shortest election timeout.
const SLOW: Duration = Duration::from_millis(100);
/// Percentage of the packets between nodes that are lost.
const LOST_PERCENT: u32 = 10;
/// Seconds by which a clock leaps: longer than any hold in a round lives.
const LEAP_SECS: i64 = 3_600;

impl Fault {
    /// Causes the fault, waits until the cluster has shown that it bears it, and undoes the fault.
    ///
    /// # Errors
    /// When buyers get nothing for a minute, or a node does not come back.
    pub(super) async fn inflict(self, cluster: &mut Cluster, crowd: &Crowd, shard: u32) -> Result<()> {
        let leader = cluster.leader(shard).await?;
        let holders = cluster.holders(shard).await?;
        // The nodes with a replica of the shard come first.
        let mut others: Vec<usize> = (0..cluster.len()).filter(|node| *node != leader).collect();
        others.sort_by_key(|node| !holders.contains(node));
        match self {
            Self::LeaderKilled => killed(cluster, crowd, leader).await?,
            Self::FollowerKilled => killed(cluster, crowd, others[0]).await?,
            Self::AllKilled => {
                cluster.kill_all()?;
                for node in 0..cluster.len() {
                    cluster.spawn(node)?;
                }
            }
            Self::LeaderPaused => paused(cluster, crowd, leader).await?,
            Self::LeaderCutOff => {
                let cut = |network: &Network| cut_off(network, leader, &others);
                while_network(cluster, crowd, cut).await?;
            }
            Self::LeaderUnheard => {
                let cut = |network: &Network| others.iter().for_each(|other| network.cut(leader, *other));
                while_network(cluster, crowd, cut).await?;
            }
            Self::LeaderDeaf => {
                let cut = |network: &Network| others.iter().for_each(|other| network.cut(*other, leader));
                while_network(cluster, crowd, cut).await?;
            }
            Self::SlowNetwork => while_network(cluster, crowd, |network| network.delay(SLOW)).await?,
            Self::ConnectionsFlaky => while_network(cluster, crowd, Network::be_flaky).await?,
            Self::PacketsLost => {
                let loss = cluster.network()?.lose_packets(LOST_PERCENT)?;
                crowd.more_grants(GRANTS_MEANWHILE).await?;
                ensure!(loss.lost()? > 0, "no packet was lost");
                drop(loss);
            }
            Self::ClockAhead => leap(cluster, crowd, leader, LEAP_SECS).await?,
            Self::ClockBehind => leap(cluster, crowd, leader, -LEAP_SECS).await?,
            Self::LeaderCutOffAndFollowerKilled => {
                cut_off(cluster.network()?, leader, &others);
                cluster.end(others[0], Signal::SIGKILL)?;
                cluster.spawn(others[0])?;
                // The grants come without the old leader, which still hears nobody.
                let meanwhile = crowd.more_grants(GRANTS_MEANWHILE).await;
                cluster.network()?.heal();
                meanwhile?;
            }
            Self::LeaderKilledOnSlowNetwork => {
                cluster.network()?.delay(SLOW);
                let borne = killed(cluster, crowd, leader).await;
                cluster.network()?.heal();
                borne?;
            }
            Self::LeaderPausedOnFlakyNetwork => {
                cluster.network()?.be_flaky();
                let borne = paused(cluster, crowd, leader).await;
                cluster.network()?.heal();
                borne?;
            }
            Self::ConnectionsBroken => cluster.network()?.break_off(),
            Self::DiskFull => {
                cluster.refuse_writes(leader)?;
                // A failed sync ends the node.
                let status = cluster.ended(leader).await?;
                ensure!(
                    !status.success(),
                    "a node whose writes fail ended as if all were well"
                );
                crowd.more_grants(GRANTS_MEANWHILE).await?;
                cluster.spawn(leader)?;
            }
            Self::LogDamaged => damaged(cluster, crowd, others[0], Region::Log).await?,
            Self::LastBatchDamaged => damaged(cluster, crowd, others[0], Region::LastBatch).await?,
            Self::HistoryDamaged => damaged(cluster, crowd, others[0], Region::Changes).await?,
            Self::RollingRestart => {
                for node in 0..cluster.len() {
                    cluster.stop(node)?;
                    cluster.spawn(node)?;
                    cluster.ready().await?;
                }
            }
            Self::WipedDisk => {
                let node = others[0];
                cluster.end(node, Signal::SIGKILL)?;
                crowd.more_grants(GRANTS_MEANWHILE).await?;
                cluster.wipe(node)?;
                cluster.spawn(node)?;
                // The node is ready when its replicas are new and moves are over.
                cluster.has_new_replicas(node).await?;
                moves::settled(cluster).await?;
            }
            Self::ReplicasMoved => {
                moves::begin_drain(cluster, leader).await?;
                moves::away_and_back(cluster, crowd, leader).await?;
            }
            Self::NodeReplaced => moves::replace(cluster, crowd, others[0]).await?,
            Self::LeaderKilledWhileMoving => {
                let drained = others[0];
                moves::begin_drain(cluster, drained).await?;
                let leader = cluster.leader(shard).await?;
                killed(cluster, crowd, leader).await?;
                moves::away_and_back(cluster, crowd, drained).await?;
            }
            Self::DrainedLeaderKilled => {
                moves::begin_drain(cluster, leader).await?;
                killed(cluster, crowd, leader).await?;
                moves::away_and_back(cluster, crowd, leader).await?;
            }
            Self::PartitionWhileMoving => {
                let drained = others[0];
                moves::begin_drain(cluster, drained).await?;
                let leader = cluster.leader(shard).await?;
                let others: Vec<usize> = (0..cluster.len()).filter(|node| *node != leader).collect();
                let cut = |network: &Network| cut_off(network, leader, &others);
                while_network(cluster, crowd, cut).await?;
                moves::away_and_back(cluster, crowd, drained).await?;
            }
            Self::NewcomerCutOffWhileMoving => {
                let newcomer = (0..cluster.len()).find(|node| !holders.contains(node));
                let newcomer = newcomer.context("every node has a replica of the shard")?;
                let drained = others[0];
                moves::begin_drain(cluster, drained).await?;
                let others: Vec<usize> = (0..cluster.len()).filter(|node| *node != newcomer).collect();
                let cut = |network: &Network| cut_off(network, newcomer, &others);
                while_network(cluster, crowd, cut).await?;
                moves::away_and_back(cluster, crowd, drained).await?;
            }
        }
        cluster.ready().await?;
        crowd.more_grants(GRANTS_AFTERWARDS).await
    }
}

async fn killed(cluster: &mut Cluster, crowd: &Crowd, node: usize) -> Result<()> {
    cluster.end(node, Signal::SIGKILL)?;
    crowd.more_grants(GRANTS_MEANWHILE).await?;
    cluster.spawn(node)
}

/// Pauses a node until others lead and buyers get something. Then it continues as if nothing had happened.
async fn paused(cluster: &Cluster, crowd: &Crowd, node: usize) -> Result<()> {
    cluster.signal(node, Signal::SIGSTOP)?;
    let meanwhile = crowd.more_grants(GRANTS_MEANWHILE).await;
    cluster.signal(node, Signal::SIGCONT)?;
    meanwhile
}

fn cut_off(network: &Network, node: usize, others: &[usize]) {
    for other in others {
        network.cut(node, *other);
        network.cut(*other, node);
    }
}

/// Sets the clock ahead or back, and then right again.
async fn leap(cluster: &Cluster, crowd: &Crowd, node: usize, ahead_secs: i64) -> Result<()> {
    cluster.set_clock(node, ahead_secs).await?;
    crowd.more_grants(GRANTS_MEANWHILE).await?;
    cluster.set_clock(node, 0).await
}

async fn while_network(cluster: &Cluster, crowd: &Crowd, fails: impl FnOnce(&Network)) -> Result<()> {
    let network = cluster.network()?;
    fails(network);
    let meanwhile = crowd.more_grants(GRANTS_MEANWHILE).await;
    network.heal();
    meanwhile
}

/// Damages a node's files. The node notices it and comes back by itself: when it votes again, nothing that it
/// confirmed is missing.
async fn damaged(cluster: &mut Cluster, crowd: &Crowd, node: usize, region: Region) -> Result<()> {
    cluster.end(node, Signal::SIGKILL)?;
    crowd.more_grants(GRANTS_MEANWHILE).await?;
    let before = cluster.put_aside(node);
    cluster.damage(node, region)?;
    cluster.spawn(node)?;
    if matches!(region, Region::LastBatch | Region::Log) {
        cluster.has_new_replicas(node).await?;
        ensure!(
            cluster.put_aside(node) == before + 1,
            "a node voted with a damaged log"
        );
        moves::settled(cluster).await?;
    }
    cluster.ready().await?;
    cluster.forget_put_aside(node)
}
