//! The latency of an order of five lines over five shards, beside that of one line in one shard.
//!
//! One caller makes them in turn, so that other work of the machine affects both alike.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use holdfast_client::Client;
use uuid::Uuid;

use super::requests::{name, reservation, was_granted};
use crate::latencies::{histogram, microseconds};
use crate::load::{Measured, WARM_UP};
use crate::workload::SKUS;

/// Orders of one line and of five lines.
pub(crate) struct Orders {
    client: Client,
    /// One SKU of each shard.
    skus: Vec<usize>,
}

/// The calls of one kind.
struct Kind {
    latency: Histogram<u64>,
    /// Total time of the calls. Calls of the two kinds alternate, so it is not the time of the run.
    took: Duration,
}

impl Kind {
    fn new() -> Result<Self> {
        Ok(Self {
            latency: histogram()?,
            took: Duration::ZERO,
        })
    }

    fn measured(self) -> Measured {
        Measured {
            calls: self.latency.len(),
            elapsed: self.took,
            latency: self.latency,
            // The servers work for both kinds, so their usage cannot be divided.
            usage: None,
        }
    }
}

impl Orders {
    pub(crate) async fn new(client: &Client) -> Result<Self> {
        let mut skus = BTreeMap::new();
        for sku in 0..SKUS {
            skus.entry(client.shard_of(&name(sku)).await?).or_insert(sku);
            if skus.len() == super::SHARDS as usize {
                break;
            }
        }
        Ok(Self {
            client: client.clone(),
            skus: skus.into_values().collect(),
        })
    }

    /// Measures orders of one line, and orders of five lines.
    pub(crate) async fn measure(&self, duration: Duration) -> Result<(Measured, Measured)> {
        self.alternate(duration.mul_f64(WARM_UP)).await?;
        let (single, five) = self.alternate(duration).await?;
        Ok((single.measured(), five.measured()))
    }

    async fn alternate(&self, duration: Duration) -> Result<(Kind, Kind)> {
        let (mut single, mut five) = (Kind::new()?, Kind::new()?);
        let until = Instant::now() + duration;
        let mut skus = self.skus.clone();
        while Instant::now() < until {
            // The first line changes each time, so the home moves too.
            skus.rotate_left(1);
            self.reserve(&skus[..1], &mut single).await?;
            self.reserve(&skus, &mut five).await?;
        }
        Ok((single, five))
    }

    async fn reserve(&self, skus: &[usize], kind: &mut Kind) -> Result<()> {
        let request = reservation(Uuid::now_v7(), skus.iter().map(|sku| name(*sku)));
        let began = Instant::now();
        let answer = self.client.reserve(request).await;
        let took = began.elapsed();
        ensure!(was_granted(answer)?, "an order was refused");
        kind.took += took;
        kind.latency.saturating_record(microseconds(took));
        Ok(())
    }
}
