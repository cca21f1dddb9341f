//! Two ways to call Holdfast: one call for each request, or many requests in each message.

use std::sync::Arc;

use anyhow::{Result, bail};
use holdfast_api::v1;
use holdfast_api::v1::batch_item::Request;
use holdfast_client::{BatchAnswer, BatchOptions, BatchStream, Client, shard_of};
use uuid::Uuid;

use super::requests::{commitment, name, reservation, shipment, was_granted};
use crate::buyers::{Fulfilment, Target};

/// The map from SKUs to shards. With it a caller names the shard of a reservation, so that no node has to
/// look for it.
#[derive(Clone)]
struct Shards {
    topology: Arc<v1::GetTopologyResponse>,
}

impl Shards {
    async fn of(client: &Client) -> Result<Self> {
        Ok(Self {
            topology: Arc::new(client.topology().await?),
        })
    }

    fn with(&self, sku: usize) -> Option<u32> {
        shard_of(&self.topology, &name(sku))
    }
}

/// A caller that sends one call for each request.
#[derive(Clone)]
pub(crate) struct Unary {
    client: Client,
    shards: Shards,
}

impl Unary {
    pub(crate) async fn new(client: &Client) -> Result<Self> {
        Ok(Self {
            client: client.clone(),
            shards: Shards::of(client).await?,
        })
    }
}

impl Target for Unary {
    async fn reserve(&self, _: usize, id: Uuid, sku: usize) -> Result<bool> {
        was_granted(self.client.reserve(reservation(id, [name(sku)])).await)
    }
}

impl Fulfilment for Unary {
    async fn commit(&self, _: usize, id: Uuid, sku: usize) -> Result<bool> {
        self.client.commit(commitment(id, self.shards.with(sku))).await?;
        Ok(true)
    }

    async fn ship(&self, _: usize, id: Uuid, sku: usize) -> Result<bool> {
        self.client.ship(shipment(id, self.shards.with(sku))).await?;
        Ok(true)
    }
}

/// A caller that sends many requests in each message.
#[derive(Clone)]
pub(crate) struct Batched {
    stream: BatchStream,
    shards: Shards,
}

impl Batched {
    pub(crate) async fn new(client: &Client) -> Result<Self> {
        let options = BatchOptions {
            max_items: 1024,
            max_in_flight: 65_536,
            ..BatchOptions::default()
        };
        Ok(Self {
            stream: client.batch(options),
            shards: Shards::of(client).await?,
        })
    }

    async fn transition(&self, request: Request) -> Result<bool> {
        match self.stream.submit(request).await? {
            BatchAnswer::Transitioned(_) => Ok(true),
            answer => bail!("a transition was answered with {answer:?}"),
        }
    }
}

impl Target for Batched {
    async fn reserve(&self, _: usize, id: Uuid, sku: usize) -> Result<bool> {
        let request = Request::Reserve(reservation(id, [name(sku)]));
        match self.stream.submit(request).await {
            Ok(answer @ (BatchAnswer::Transitioned(_) | BatchAnswer::Stocked(_))) => {
                bail!("a reservation was answered with {answer:?}")
            }
            answer => was_granted(answer),
        }
    }
}

impl Fulfilment for Batched {
    async fn commit(&self, _: usize, id: Uuid, sku: usize) -> Result<bool> {
        let commitment = commitment(id, self.shards.with(sku));
        self.transition(Request::Commit(commitment)).await
    }

    async fn ship(&self, _: usize, id: Uuid, sku: usize) -> Result<bool> {
        let shipment = shipment(id, self.shards.with(sku));
        self.transition(Request::Ship(shipment)).await
    }
}
