//! What happens to a cluster, one thing at a time, while buyers go on.

use std::time::Duration;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

use crate::load::Crowd;
use crate::{Cluster, Network, wait_for};

/// Grants that have to come while the fault lasts, where a majority is left.
const GRANTS_MEANWHILE: u64 = 100;
/// Grants that have to come when it is over.
const GRANTS_AFTERWARDS: u64 = 100;
/// Of each piece of what nodes say to each other, on a slow network: a fifth of the shortest election timeout.
const SLOW: Duration = Duration::from_millis(100);

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of a node that leads.
    LeaderKilled,
    /// SIGKILL of a node that follows.
    FollowerKilled,
    /// SIGKILL of all nodes at once.
    AllKilled,
    /// SIGSTOP of a node that leads, until another one leads; then it goes on as if nothing had been.
    LeaderPaused,
    /// A node that leads and the others do not hear each other.
    LeaderCutOff,
    /// Nobody hears a node that leads, and it hears everybody.
    LeaderUnheard,
    /// A node that leads hears nobody, and everybody hears it.
    LeaderDeaf,
    /// Everything between nodes takes longer.
    SlowNetwork,
    /// All connections between nodes break off at once.
    ConnectionsBroken,
    /// A node that leads can write no more: as on a full disk, each write fails.
    DiskFull,
    /// A byte of a node's log is another one when it starts.
    LogDamaged,
    /// Each node is asked to stop and started again, one after another.
    RollingRestart,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::LeaderKilled,
        Self::FollowerKilled,
        Self::AllKilled,
        Self::LeaderPaused,
        Self::LeaderCutOff,
        Self::LeaderUnheard,
        Self::LeaderDeaf,
        Self::SlowNetwork,
        Self::ConnectionsBroken,
        Self::DiskFull,
        Self::LogDamaged,
        Self::RollingRestart,
    ];

    /// Brings it about, waits until the cluster has shown that it bears it, and mends it.
    ///
    /// # Errors
    /// When buyers get nothing for a minute, or a node does not come back.
    pub async fn inflict(self, cluster: &mut Cluster, crowd: &Crowd, shard: u32) -> Result<()> {
        let leader = cluster.leader(shard).await?;
        let others: Vec<usize> = (0..cluster.len()).filter(|node| *node != leader).collect();
        match self {
            Self::LeaderKilled => killed(cluster, crowd, leader).await?,
            Self::FollowerKilled => killed(cluster, crowd, others[0]).await?,
            Self::AllKilled => {
                cluster.kill_all()?;
                for node in 0..cluster.len() {
                    cluster.spawn(node)?;
                }
            }
            Self::LeaderPaused => {
                cluster.signal(leader, Signal::SIGSTOP)?;
                let meanwhile = more_grants(crowd, GRANTS_MEANWHILE).await;
                cluster.signal(leader, Signal::SIGCONT)?;
                meanwhile?;
            }
            Self::LeaderCutOff => {
                let cut = |network: &Network| {
                    for other in &others {
                        network.cut(leader, *other);
                        network.cut(*other, leader);
                    }
                };
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
            Self::ConnectionsBroken => cluster.network()?.break_off(),
            Self::DiskFull => {
                cluster.refuse_writes(leader)?;
                // A failed sync is fatal to the node.
                let status = cluster.ended(leader).await?;
                ensure!(
                    !status.success(),
                    "a node whose writes fail ended as if all were well"
                );
                more_grants(crowd, GRANTS_MEANWHILE).await?;
                cluster.spawn(leader)?;
            }
            Self::LogDamaged => damaged(cluster, crowd, others[0]).await?,
            Self::RollingRestart => {
                for node in 0..cluster.len() {
                    let status = cluster.end(node, Signal::SIGTERM)?;
                    ensure!(status.success(), "node {} ended with {status}", node + 1);
                    cluster.spawn(node)?;
                    cluster.ready().await?;
                }
            }
        }
        cluster.ready().await?;
        more_grants(crowd, GRANTS_AFTERWARDS).await
    }
}

async fn killed(cluster: &mut Cluster, crowd: &Crowd, node: usize) -> Result<()> {
    cluster.end(node, Signal::SIGKILL)?;
    more_grants(crowd, GRANTS_MEANWHILE).await?;
    cluster.spawn(node)
}

async fn while_network(cluster: &Cluster, crowd: &Crowd, fails: impl FnOnce(&Network)) -> Result<()> {
    let network = cluster.network()?;
    fails(network);
    let meanwhile = more_grants(crowd, GRANTS_MEANWHILE).await;
    network.heal();
    meanwhile
}

/// The node notices, and either mends it with what it has or refuses to start; then the log is given back as it was.
async fn damaged(cluster: &mut Cluster, crowd: &Crowd, node: usize) -> Result<()> {
    cluster.end(node, Signal::SIGKILL)?;
    more_grants(crowd, GRANTS_MEANWHILE).await?;
    let damage = cluster.damage_log(node)?;
    cluster.spawn(node)?;
    if !cluster.is_ready_or_ended(node).await? {
        let status = cluster.ended(node).await?;
        ensure!(
            !status.success(),
            "a node that refuses to start ended as if all were well"
        );
        damage.flip()?;
        cluster.spawn(node)?;
    }
    Ok(())
}

/// Waits until buyers were granted so much more.
async fn more_grants(crowd: &Crowd, grants: u64) -> Result<()> {
    let before = crowd.grants();
    wait_for(&format!("{grants} more grants"), || async {
        (crowd.grants() >= before + grants).then_some(())
    })
    .await
}
