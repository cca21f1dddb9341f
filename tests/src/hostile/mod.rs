//! Hostile callers, and their cost for the nodes and the honest callers.
//!
//! [`Stage::set`] starts three nodes with the usual timeouts and an honest crowd. [`Stage::play`] plays one
//! [`Flood`] on some nodes. [`Shown`] is its effect: memory, terms, and the service of honest callers. `cargo
//! xtask hostile` plays all floods again and again, and judges times too. The tests of this crate play each
//! flood in full once, and do not judge times.

mod flood;
mod shown;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_api::v1;
use holdfast_api::v1::cluster_client::ClusterClient;
use procfs::process::Process;

pub use flood::{Attack, Flood};
pub use shown::{Quiet, Shown};

use crate::accounts::stock;
use crate::load::Crowd;
use crate::{Cluster, ClusterOptions, Timeouts, wait_for};

/// Number of honest buyers.
const BUYERS: usize = 6;
/// Number of SKUs that they buy.
const SKUS: usize = 16;
/// Number of grants which shows that honest callers are served.
const GRANTS: u64 = 100;
/// Time between two looks at the memory.
const LOOK: Duration = Duration::from_millis(50);

/// The nodes, and an honest crowd that buys from them.
#[derive(Debug)]
pub struct Stage {
    cluster: Cluster,
    crowd: Crowd,
}

impl Stage {
    /// Starts three nodes that serve with this many threads, and a crowd that is served.
    ///
    /// # Errors
    /// When they do not start.
    pub async fn set(timeouts: Timeouts, threads: Option<u32>) -> Result<Self> {
        let cluster = Cluster::start_with(ClusterOptions {
            shards: 2,
            timeouts,
            threads,
            ..ClusterOptions::default()
        })
        .await?;
        let client = cluster.client()?;
        let skus = stock(&client, SKUS).await?;
        let crowd = Crowd::start(&client, BUYERS, &skus, 1)?;
        crowd.more_grants(GRANTS).await?;
        Ok(Self { cluster, crowd })
    }

    /// Measures for this period how honest callers are served without a flood.
    ///
    /// # Errors
    /// When a node is gone.
    pub async fn quiet(&mut self, period: Duration) -> Result<Quiet> {
        self.crowd.meter().take();
        tokio::time::sleep(period).await;
        Ok(Quiet {
            service: self.crowd.meter().take(),
            resident_bytes: self.resident_bytes()?,
        })
    }

    /// Plays a flood on the first `nodes` nodes until all of it was sent, `enough` has passed, and honest
    /// callers were served meanwhile.
    ///
    /// # Errors
    /// When honest callers are not served, or a node is gone.
    pub async fn play(
        &mut self,
        flood: Flood,
        nodes: usize,
        enough: impl Future<Output = ()>,
    ) -> Result<Shown> {
        let addresses: Vec<SocketAddr> = (0..self.cluster.len().min(nodes))
            .map(|node| self.cluster.client_address(node).parse())
            .collect::<Result<_, _>>()?;
        let terms_before = self.terms().await?;
        let resident_before = self.resident_bytes()?;
        self.crowd.meter().take();
        let attack = Attack::begin(flood, &addresses)?;
        let in_full = flood.in_full() * addresses.len() as u64;
        let mut peaks = resident_before.clone();
        let over = async {
            wait_for(&format!("{flood:?} is there in full"), || async {
                (attack.attempts() >= in_full).then_some(())
            })
            .await?;
            self.crowd.more_grants(GRANTS).await?;
            enough.await;
            anyhow::Ok(())
        };
        tokio::select! {
            over = over => over.with_context(|| format!("{flood:?}"))?,
            error = self.watch(&mut peaks) => return Err(error.context(format!("{flood:?}"))),
        }
        let service = self.crowd.meter().take();
        let attempts = attack.attempts();
        drop(attack);
        // The nodes that were flooded answer again.
        self.crowd.more_grants(GRANTS).await?;
        Ok(Shown {
            flood,
            attempts,
            service,
            resident_before,
            resident_peak: peaks,
            terms_before,
            terms_after: self.terms().await?,
        })
    }

    /// Measures the memory of all nodes until one of them is gone.
    async fn watch(&self, peaks: &mut [u64]) -> anyhow::Error {
        loop {
            match self.resident_bytes() {
                Ok(now) => {
                    for (peak, now) in peaks.iter_mut().zip(now) {
                        *peak = now.max(*peak);
                    }
                }
                Err(error) => return error,
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn resident_bytes(&self) -> Result<Vec<u64>> {
        (0..self.cluster.len())
            .map(|node| {
                let process = Process::new(self.cluster.process_id(node)?.cast_signed());
                let stat = process
                    .and_then(|process| process.stat())
                    .with_context(|| format!("node {} is gone", node + 1))?;
                ensure!(!matches!(stat.state, 'Z' | 'X'), "node {} has ended", node + 1);
                Ok(stat.rss * procfs::page_size())
            })
            .collect()
    }

    /// Adds up the terms of all shards, as each node knows them.
    async fn terms(&self) -> Result<u64> {
        let mut terms = 0;
        for node in 0..self.cluster.len() {
            let mut client = ClusterClient::new(self.cluster.channel(node)?);
            let status = client.get_node_status(v1::GetNodeStatusRequest {}).await?;
            terms += status
                .into_inner()
                .replicas
                .iter()
                .map(|replica| replica.term)
                .sum::<u64>();
        }
        Ok(terms)
    }

    /// Stops the crowd and compares the ledgers.
    ///
    /// # Errors
    /// When `verify` finds something, or a node panicked.
    pub async fn end(self) -> Result<()> {
        let seen = self.crowd.stop().await?;
        ensure!(!seen.granted.is_empty(), "nobody was served");
        self.cluster.verify()?;
        for node in 0..self.cluster.len() {
            let log = self.cluster.log(node);
            ensure!(!log.contains("panicked"), "a panic on node {}:\n{log}", node + 1);
        }
        Ok(())
    }
}
