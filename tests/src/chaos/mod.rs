//! Faults on real processes: nodes, a crowd of buyers, clients that check closely, and one [`Fault`] after
//! another.
//!
//! A [`round`] starts a cluster and has every fault happen to it once, in an order that its seed decides.
//! Then it checks everything that was acknowledged: nothing is lost, nothing is sold twice, `holdfast verify`
//! finds nothing, and the answers to clients are [judged](crate::judge) as in the simulation.
//! `tests/chaos.rs` runs one round; `cargo xtask chaos` runs rounds for as long as it is told to and prints
//! the [`Report`].

mod fault;
mod inflict;
mod moves;
mod report;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

pub use fault::Fault;
pub use report::Report;

use crate::accounts::stock;
use crate::history::History;
use crate::judge::ensure_holds;
use crate::load::Crowd;
use crate::probes::Probes;
use crate::{Cluster, ClusterOptions};

/// Shards of a cluster: some faults affect all of them, some only one.
const SHARDS: u32 = 2;
/// SKUs that buyers want.
const SKUS: usize = 8;
/// Buyers at once.
const BUYERS: usize = 16;
/// Lines of an order: over both shards, mostly.
const LINES: usize = 2;
/// Longest time of an attempt. When a node does not answer for so long, another is asked. It is the nodes'
/// longest election timeout.
const ATTEMPT: Duration = Duration::from_secs(1);
/// Longest time that a buyer tries: longer than any fault keeps all nodes from answering.
const BUYER_DEADLINE: Duration = Duration::from_secs(30);
/// Longest time that a probe tries. It is short, because requests that stay unanswered for long make a
/// history hard to search.
const PROBE_DEADLINE: Duration = Duration::from_secs(4);

/// The parts of a round.
#[derive(Debug, Clone)]
pub struct Round {
    /// Seed that decides the order of faults and what they affect.
    pub seed: u64,
    /// Number of nodes, 3 to 7.
    pub nodes: usize,
    /// Faults of the round, each of which happens once.
    pub faults: Vec<Fault>,
}

/// Runs a round: one cluster, and once every fault of the round that the machine allows.
///
/// # Errors
/// The fault after which something was wrong, and what it was. It names the seed, which decides the order of
/// faults.
pub async fn round(round: &Round, report: &mut Report) -> Result<()> {
    let Round {
        seed,
        nodes,
        faults: wanted,
    } = round;
    let (seed, nodes) = (*seed, *nodes);
    ensure!(
        (3..=7).contains(&nodes),
        "{nodes} nodes: 3 to 7 can lose one and go on"
    );
    let mut cluster = Cluster::start_with(ClusterOptions {
        shards: SHARDS,
        nodes,
        on_network: true,
        own_clocks: true,
        ..ClusterOptions::default()
    })
    .await?;
    let mut random = SmallRng::seed_from_u64(seed);
    let mut faults = Vec::new();
    for fault in wanted.iter().copied() {
        match fault.needs().map_or(Ok(()), |needed| cluster.can(needed)) {
            Ok(()) => faults.push(fault),
            Err(why) => report.left_out(fault, &why),
        }
    }
    faults.shuffle(&mut random);

    let client = cluster.client_with(|options| {
        (options.deadline, options.attempt_timeout) = (BUYER_DEADLINE, ATTEMPT);
    })?;
    let skus = stock(&client, SKUS).await?;
    let history = Arc::new(History::default());
    let crowd = Crowd::start_recording(&client, BUYERS, &skus, LINES, &history)?;
    let probes = Probes::start(&client.with_deadline(PROBE_DEADLINE), &history, seed);
    for fault in &faults {
        crowd.meter().take();
        probes.next_period();
        let shard = random.random_range(0..SHARDS);
        let borne = fault.inflict(&mut cluster, &crowd, shard).await;
        borne.with_context(|| format!("{fault:?} (seed {seed})"))?;
        report.bore(*fault, &crowd.meter().take())?;
    }
    probes.stop().await?;
    let seen = crowd.stop().await?;
    report.bought(&seen);
    let held = ensure_holds(&cluster, &skus, seen, &history).await;
    let (judged, changes) = held.with_context(|| format!("after {faults:?} (seed {seed})"))?;
    report.judged(&judged, changes);
    report.round_is_over();
    Ok(())
}
