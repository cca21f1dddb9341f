//! A cluster that grows, loses a node, shrinks and is restarted while buyers go on, and what they notice of
//! it.
//!
//! [`run`] goes through [`Step`]s. Every step only changes which nodes there are. None may lose anything, or
//! keep buyers waiting for longer than a change of leaders does. At the end the run is
//! [judged](crate::judge::ensure_holds) like a round of [`chaos`](crate::chaos). `tests/scale.rs` is a short
//! run; `cargo xtask scale` prints the [results](Shown) of a longer one.

mod shown;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::Signal;

pub use shown::Shown;

use crate::accounts::stock;
use crate::history::History;
use crate::judge::ensure_holds;
use crate::load::Crowd;
use crate::probes::Probes;
use crate::{Cluster, ClusterOptions};

/// Shards of the cluster: more than one for each node.
const SHARDS: u32 = 6;
/// SKUs that buyers want.
const SKUS: usize = 16;
/// Lines of an order: over two shards, mostly.
const LINES: usize = 2;
/// Longest time of an attempt. When a node does not answer for so long, another is asked. It is the nodes'
/// longest election timeout.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Longest time that a buyer tries.
const BUYER_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time that a probe tries. It is short, because requests that stay unanswered for long make a
/// history hard to search.
const PROBE_DEADLINE: Duration = Duration::from_secs(4);

/// The steps, in this order. Nodes have the numbers of the cluster, which count from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing happens. The other steps are compared with this one.
    Quiet,
    /// Nodes 4 and 5 are added to nodes 1 to 3, and replicas spread over them.
    ThreeToFive,
    /// Nothing happens, on five nodes.
    QuietOnFive,
    /// Node 2 is killed for good, drained and removed, and node 6 is added in its place.
    NodeReplaced,
    /// Nodes 5 and 6 are drained, removed and stopped.
    FiveToThree,
    /// Each node is asked to stop and started again, one after another.
    RollingRestart,
    /// Node 3 is killed and comes back with an empty disk.
    DiskReplaced,
}

impl Step {
    /// All steps, in order.
    pub const ALL: [Self; 7] = [
        Self::Quiet,
        Self::ThreeToFive,
        Self::QuietOnFive,
        Self::NodeReplaced,
        Self::FiveToThree,
        Self::RollingRestart,
        Self::DiskReplaced,
    ];
}

/// Settings of a run.
#[derive(Debug, Clone, Copy)]
pub struct Scaling {
    /// Buyers at once, each waiting for its answer before it orders again.
    pub buyers: usize,
    /// Grants that make up a quiet step, and that must follow each change.
    pub grants: u64,
    /// Seed of the probes.
    pub seed: u64,
}

/// Goes through all steps.
///
/// # Errors
/// Names the step in which something was wrong, and what it was.
pub async fn run(scaling: Scaling) -> Result<Shown> {
    let mut cluster = Cluster::start_with(ClusterOptions {
        shards: SHARDS,
        ..ClusterOptions::default()
    })
    .await?;
    let client = cluster.client_with(|options| {
        (options.deadline, options.attempt_timeout) = (BUYER_DEADLINE, ATTEMPT);
    })?;
    let skus = stock(&client, SKUS).await?;
    let history = Arc::new(History::default());
    let crowd = Crowd::start_recording(&client, scaling.buyers, &skus, LINES, &history)?;
    let probes = Probes::start(&client.with_deadline(PROBE_DEADLINE), &history, scaling.seed);
    // Let clients make their connections and learn the topology before the first step.
    crowd.more_grants(scaling.grants).await?;
    let mut shown = Shown::default();
    for step in Step::ALL {
        crowd.meter().take();
        probes.next_period();
        let done = step.make(&mut cluster, &probes).await;
        done.with_context(|| format!("{step:?}"))?;
        probes.next_period();
        let served = crowd.more_grants(scaling.grants).await;
        served.with_context(|| format!("after {step:?}"))?;
        shown.made(step, crowd.meter().take());
    }
    probes.stop().await?;
    let seen = crowd.stop().await?;
    shown.bought(&seen);
    let (judged, changes) = ensure_holds(&cluster, &skus, seen, &history).await?;
    shown.judged(judged, changes);
    Ok(shown)
}

impl Step {
    async fn make(self, cluster: &mut Cluster, probes: &Probes) -> Result<()> {
        match self {
            Self::Quiet | Self::QuietOnFive => {}
            Self::ThreeToFive => {
                let added = [cluster.spawn_newcomer()?, cluster.spawn_newcomer()?];
                cluster.admit(&added).await?;
            }
            Self::NodeReplaced => {
                cluster.end(1, Signal::SIGKILL)?;
                cluster.operate(&["cluster", "drain", "2", "--remove"]).await?;
                probes.next_period();
                let added = cluster.spawn_newcomer()?;
                cluster.admit(&[added]).await?;
            }
            Self::FiveToThree => {
                cluster
                    .operate(&["cluster", "drain", "5", "6", "--remove"])
                    .await?;
                for removed in [4, 5] {
                    cluster.end_removed(removed)?;
                }
            }
            Self::RollingRestart => {
                for node in cluster.running() {
                    cluster.stop(node)?;
                    cluster.spawn(node)?;
                    cluster.ready().await?;
                    probes.next_period();
                }
            }
            Self::DiskReplaced => {
                cluster.end(2, Signal::SIGKILL)?;
                cluster.wipe(2)?;
                cluster.spawn(2)?;
                cluster.has_new_replicas(2).await?;
                cluster.operate(&["cluster", "rebalance"]).await?;
            }
        }
        cluster.ready().await
    }
}
