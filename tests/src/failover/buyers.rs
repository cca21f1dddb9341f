//! Buyers who each stay at one node, whatever happens to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use holdfast_api::v1::reservations_client::ReservationsClient;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::meter::Meter;
use crate::{Cluster, requests, wait_for};

/// Time without an answer after which a node is asked again.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Pause before a node that is down is asked again.
const PAUSE: Duration = Duration::from_millis(5);

/// Buyers at each node, who order one unit after the other. They measure the cluster, not a client that finds
/// a better node.
#[derive(Debug)]
pub(super) struct Buyers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    stop: AtomicBool,
    grants: AtomicU64,
    meter: Meter,
}

impl Buyers {
    pub(super) fn start(cluster: &Cluster, at_each: usize, skus: &[String]) -> Result<Self> {
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            grants: AtomicU64::new(0),
            meter: Meter::new()?,
        });
        let mut tasks = JoinSet::new();
        for node in 0..cluster.len() {
            let channel = cluster.channel(node)?;
            for buyer in 0..at_each {
                let sku = skus[buyer % skus.len()].clone();
                tasks.spawn(buy(channel.clone(), sku, Arc::clone(&shared)));
            }
        }
        Ok(Self { shared, tasks })
    }

    pub(super) fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Waits until this many more orders are granted.
    pub(super) async fn are_served(&self, grants: u64) -> Result<()> {
        let enough = self.shared.grants.load(Ordering::Relaxed) + grants;
        wait_for(&format!("{grants} more grants"), || async {
            (self.shared.grants.load(Ordering::Relaxed) >= enough).then_some(())
        })
        .await
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        self.shared.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

async fn buy(channel: Channel, sku: String, shared: Arc<Shared>) {
    let mut client = ReservationsClient::new(channel);
    while !shared.stop.load(Ordering::Relaxed) {
        let order = requests::order(&[&sku]);
        let sent = Instant::now();
        // Send the same order again until its outcome is known.
        loop {
            let mut request = tonic::Request::new(order.clone());
            request.set_timeout(ATTEMPT);
            let answer = tokio::time::timeout(ATTEMPT, client.reserve(request)).await;
            if matches!(answer, Ok(Ok(_))) {
                shared.meter.granted(sent);
                shared.grants.fetch_add(1, Ordering::Relaxed);
                break;
            }
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
