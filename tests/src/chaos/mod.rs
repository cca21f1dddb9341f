//! Faults on real processes: three nodes, a crowd of buyers, and one [`Fault`] after another.
//!
//! A [`round`] starts a cluster, has every fault happen to it once in an order that its seed decides, and then asks for everything
//! that was acknowledged: nothing lost, nothing sold twice, `holdfast verify` clean. `tests/chaos.rs` runs one round;
//! `cargo xtask chaos` runs rounds for as long as it is told to and prints what [`Report`] says.

mod fault;
mod report;

use std::time::Instant;

use anyhow::{Context as _, Result};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};

pub use fault::Fault;
pub use report::Report;

use crate::accounts::{account_for, stock};
use crate::load::Crowd;
use crate::{Cluster, Shards};

/// Shards of a cluster: some faults hit all, some one.
const SHARDS: u32 = 2;
/// SKUs that buyers want.
const SKUS: usize = 8;
/// Buyers at once.
const BUYERS: usize = 16;
/// Lines of an order: over both shards, mostly.
const LINES: usize = 2;

/// One cluster, every fault once.
///
/// # Errors
/// The fault after which something was not as it has to be, and what; with the seed, which decides the order of faults.
pub async fn round(seed: u64, report: &mut Report) -> Result<()> {
    let mut cluster = Cluster::start_on_network(Shards(SHARDS)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, SKUS).await?;
    let crowd = Crowd::start(&client, BUYERS, &skus, LINES);
    let mut faults = Fault::ALL;
    let mut random = SmallRng::seed_from_u64(seed);
    faults.shuffle(&mut random);
    for fault in faults {
        let (began, before) = (Instant::now(), crowd.grants());
        crowd.forget_longest_gap();
        let shard = random.random_range(0..SHARDS);
        let borne = fault.inflict(&mut cluster, &crowd, shard).await;
        borne.with_context(|| format!("{fault:?} (seed {seed})"))?;
        report.bore(
            fault,
            crowd.grants() - before,
            began.elapsed(),
            crowd.longest_gap(),
        );
    }
    let seen = crowd.stop().await?;
    report.bought(&seen);
    account_for(&client, &skus, seen)
        .await
        .with_context(|| format!("after {faults:?} (seed {seed})"))?;
    cluster
        .verify()
        .with_context(|| format!("after {faults:?} (seed {seed})"))?;
    report.round_is_over();
    Ok(())
}
