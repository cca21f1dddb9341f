//! Three Holdfast nodes with synced logs: unary calls, batched streams, orders over several shards, and the
//! change stream.

mod orders;
mod requests;
mod targets;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use holdfast_api::v1;
use holdfast_api::v1::batch_item::Request;
use holdfast_benchmarks::nodes::Nodes;
use holdfast_client::{BatchAnswer, BatchOptions, Client, ClientOptions, MAX_BATCH_ITEMS};
use uuid::Uuid;

use crate::clock;
use crate::latencies::histogram;
use crate::usage::UsageMeter;
use crate::workload::{SKUS, SOLD_OUT};

pub(crate) use orders::Orders;
pub(crate) use requests::{name, receipt, reservation, was_granted};
pub(crate) use targets::{Batched, Unary};

/// Number of shards: as many as the orders of the design's goal have lines.
pub(crate) const SHARDS: u32 = 5;
/// Arrivals that are under way while the catalogue is stocked: some full messages for each shard.
const STOCKING: usize = 16_384;

/// Three running nodes with stock.
pub(crate) struct Cluster {
    nodes: Nodes,
    client: Client,
}

impl Cluster {
    pub(crate) async fn start(binary: &Path, folder: &Path, base_port: u16) -> Result<Self> {
        let nodes = Nodes::start(binary, &folder.join("holdfast"), base_port, SHARDS, &[]).await?;
        let client = Client::new(ClientOptions::new(nodes.endpoints()))?;
        stock(&client, (0..SKUS).map(|sku| receipt(name(sku), "W1"))).await?;
        // This SKU has been in stock once, so it is sold out and not unknown.
        client
            .receive(v1::ReceiveRequest {
                quantity: 1,
                ..receipt(name(SOLD_OUT), "W1")
            })
            .await?;
        client
            .reserve(reservation(Uuid::now_v7(), [name(SOLD_OUT)]))
            .await?;
        Ok(Self { nodes, client })
    }

    pub(crate) fn meter(&self) -> Result<UsageMeter> {
        Ok(UsageMeter::new(
            self.nodes.process_id().context("the nodes ended")?,
        ))
    }

    /// Returns the URLs at which clients reach the nodes.
    pub(crate) fn endpoints(&self) -> Vec<String> {
        self.nodes.endpoints()
    }

    /// Returns the client that calls them.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Measures for `duration` how old changes are when a consumer of the change stream gets them, in
    /// microseconds. The clock is that of log time, which counts milliseconds.
    pub(crate) async fn change_lag(&self, duration: Duration) -> Result<Histogram<u64>> {
        let mut lag = histogram()?;
        let until = tokio::time::Instant::now() + duration;
        let positions = self
            .client
            .get_positions(v1::GetPositionsRequest::default())
            .await?;
        let tails = positions.shards.into_iter().map(|shard| {
            let from = shard.last_seq + 1;
            Box::pin(self.client.tail_changes(shard.shard, from, true))
        });
        let mut changes = stream::select_all(tails);
        while let Ok(Some(answer)) = tokio::time::timeout_at(until, changes.next()).await {
            let now_ms = clock::now_ms();
            for change in answer?.changes {
                lag.saturating_record(now_ms.saturating_sub(change.log_time_ms).saturating_mul(1000));
            }
        }
        Ok(lag)
    }

    pub(crate) async fn stop(self) -> Result<()> {
        self.nodes.stop().await
    }
}

/// Sends arrivals, many to a message.
pub(crate) async fn stock(client: &Client, arrivals: impl Iterator<Item = v1::ReceiveRequest>) -> Result<()> {
    let batch = client.batch(BatchOptions {
        max_items: MAX_BATCH_ITEMS,
        max_in_flight: STOCKING,
        ..BatchOptions::default()
    });
    let answers = arrivals.map(|arrival| {
        let batch = batch.clone();
        async move { batch.submit(Request::Receive(arrival)).await }
    });
    let mut answers = stream::iter(answers).buffer_unordered(STOCKING);
    while let Some(answer) = answers.try_next().await? {
        ensure!(
            matches!(answer, BatchAnswer::Stocked(_)),
            "an arrival was answered with {answer:?}"
        );
    }
    Ok(())
}
