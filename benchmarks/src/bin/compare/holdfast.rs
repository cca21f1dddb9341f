//! Three Holdfast nodes with synced logs: unary calls, batched streams, orders over several shards, the change stream.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use hdrhistogram::Histogram;
use holdfast_benchmarks::nodes::Nodes;
use holdfast_client::{
    BatchAnswer, BatchOptions, BatchStream, Client, ClientError, ClientOptions, new_operation_id,
};
use holdfast_proto::v1;
use holdfast_proto::v1::batch_item::Request;

use crate::clock;
use crate::load::{Target, histogram};
use crate::usage::UsageMeter;
use crate::workload::{SKUS, SOLD_OUT};

/// As many as the orders of the design's goal have lines.
const SHARDS: u32 = 5;
/// More than any run takes.
const STOCK: i64 = 1_000_000_000_000;
/// How many receipts are under way while the catalogue is stocked.
const STOCKING: usize = 512;
/// Reservations outlive the run: nothing expires while it is measured.
const TTL_MS: u64 = 60 * 60 * 1000;

/// Running nodes with stock.
pub(crate) struct Cluster {
    nodes: Nodes,
    client: Client,
}

impl Cluster {
    pub(crate) async fn start(binary: &Path, folder: &Path, base_port: u16) -> Result<Self> {
        let nodes = Nodes::start(binary, &folder.join("holdfast"), base_port, SHARDS).await?;
        let client = Client::new(ClientOptions::new(nodes.endpoints()))?;
        let receipts = (0..SKUS).map(|sku| {
            let client = client.clone();
            async move { client.receive(receipt(sku)).await }
        });
        stream::iter(receipts)
            .buffer_unordered(STOCKING)
            .try_for_each(|_| async { Ok(()) })
            .await?;
        // Sold out, not unknown: it was in stock once.
        client
            .receive(v1::ReceiveRequest {
                quantity: 1,
                ..receipt(SOLD_OUT)
            })
            .await?;
        client.reserve(reservation(&[SOLD_OUT])).await?;
        Ok(Self { nodes, client })
    }

    pub(crate) fn meter(&self) -> Result<UsageMeter> {
        Ok(UsageMeter::new(
            self.nodes.process_id().context("the nodes ended")?,
        ))
    }

    pub(crate) fn unary(&self) -> Unary {
        Unary {
            client: self.client.clone(),
        }
    }

    pub(crate) fn batched(&self) -> Batched {
        let options = BatchOptions {
            max_items: 1024,
            max_in_flight: 65_536,
            ..BatchOptions::default()
        };
        Batched {
            stream: self.client.batch(options),
        }
    }

    /// One SKU of each shard, for orders over all of them.
    pub(crate) async fn orders(&self) -> Result<Orders> {
        let mut skus = Vec::new();
        let mut shards = std::collections::BTreeSet::new();
        for sku in 0..SKUS {
            if shards.insert(self.client.shard_of(&name(sku)).await?) {
                skus.push(sku);
            }
        }
        Ok(Orders {
            client: self.client.clone(),
            skus,
        })
    }

    /// How old changes are when a consumer of the change stream has them, in microseconds, while `duration` passes. The
    /// clock is that of log time: milliseconds.
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

fn name(sku: usize) -> String {
    format!("SKU-{sku}")
}

fn operation() -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id: new_operation_id(),
        ..v1::Operation::default()
    })
}

fn receipt(sku: usize) -> v1::ReceiveRequest {
    v1::ReceiveRequest {
        operation: operation(),
        sku: name(sku),
        warehouse: "W1".to_owned(),
        quantity: STOCK,
        supply_id: String::new(),
    }
}

fn reservation(skus: &[usize]) -> v1::ReserveRequest {
    let line = |sku: &usize| v1::ReserveLine {
        sku: name(*sku),
        quantity: 1,
        source: None,
    };
    v1::ReserveRequest {
        operation: operation(),
        storefront: "web".to_owned(),
        lines: skus.iter().map(line).collect(),
        ttl_ms: TTL_MS,
        mode: v1::ReserveMode::AllOrNothing.into(),
        ..v1::ReserveRequest::default()
    }
}

fn was_granted<T>(answer: Result<T, ClientError>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == Some(v1::Reason::InsufficientStock) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// One call for each reservation.
#[derive(Clone)]
pub(crate) struct Unary {
    client: Client,
}

impl Target for Unary {
    async fn reserve(&self, _: usize, sku: usize) -> Result<bool> {
        was_granted(self.client.reserve(reservation(&[sku])).await)
    }
}

/// Many reservations in each message.
#[derive(Clone)]
pub(crate) struct Batched {
    stream: BatchStream,
}

impl Target for Batched {
    async fn reserve(&self, _: usize, sku: usize) -> Result<bool> {
        let answer = self.stream.submit(Request::Reserve(reservation(&[sku]))).await;
        if let Ok(BatchAnswer::Transitioned(answer)) = answer {
            bail!("a reservation was answered with {answer:?}");
        }
        was_granted(answer)
    }
}

/// Orders with a line in every shard.
#[derive(Clone)]
pub(crate) struct Orders {
    client: Client,
    skus: Vec<usize>,
}

impl Target for Orders {
    async fn reserve(&self, caller: usize, _: usize) -> Result<bool> {
        let mut skus = self.skus.clone();
        let length = skus.len().max(1);
        skus.rotate_left(caller % length);
        was_granted(self.client.reserve(reservation(&skus)).await)
    }
}
