//! The service that says what a storefront could sell.

use std::collections::{BTreeMap, HashSet};

use futures::future::try_join_all;
use holdfast_api::limits::MAX_SKUS;
use holdfast_api::v1;
use holdfast_api::v1::availability_server::Availability;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Query, QueryReply, Sku};
use tonic::{Request, Response, Status};

use super::Service;
use crate::api::wrong_reply;
use crate::mapping::{outbound, plans};
use crate::validation::{self, Invalid};

fn skus(names: Vec<String>) -> Result<Vec<Sku>, Invalid> {
    validation::count("skus", names.len(), 1, MAX_SKUS)?;
    let mut seen = HashSet::with_capacity(names.len());
    let mut skus = Vec::with_capacity(names.len());
    for (index, name) in names.into_iter().enumerate() {
        let field = format!("skus[{index}]");
        let sku = validation::sku(&field, name)?;
        if !seen.insert(sku.clone()) {
            return Err(Invalid::new(field, format!("`{sku}` is asked for twice")));
        }
        skus.push(sku);
    }
    Ok(skus)
}

#[tonic::async_trait]
impl Availability for Service {
    async fn check_availability(
        &self,
        request: Request<v1::CheckAvailabilityRequest>,
    ) -> Result<Response<v1::CheckAvailabilityResponse>, Status> {
        self.read(
            "CheckAvailability",
            request,
            |request| request.consistency,
            |call| async move {
                let storefront = validation::storefront("storefront", call.request.storefront)?;
                let asked_for = Touched::one(storefront.as_str());
                self.api
                    .allow(&call.caller, Verb::Read, &asked_for, &Touched::Everything)?;
                let skus = skus(call.request.skus)?;
                let mut by_shard: BTreeMap<u32, Vec<Sku>> = BTreeMap::new();
                for sku in &skus {
                    by_shard
                        .entry(self.api.router.shard_of(sku))
                        .or_default()
                        .push(sku.clone());
                }
                let (freshness, deadline) = (call.freshness, call.deadline);
                let asked = by_shard.into_iter().map(|(shard, skus)| {
                    let storefront = storefront.clone();
                    async move {
                        let query = Query::Availability { storefront, skus };
                        let answer = self.api.query(shard, query, freshness, deadline).await?;
                        let read = outbound::read_position(shard, &answer);
                        match answer.reply {
                            QueryReply::Availability(views) => Ok((read, views)),
                            other => Err(wrong_reply(&other)),
                        }
                    }
                });
                let mut found: BTreeMap<String, v1::SkuAvailability> = BTreeMap::new();
                for (read, views) in try_join_all(asked).await? {
                    for view in views {
                        let view = outbound::availability(read, view);
                        found.insert(view.sku.clone(), view);
                    }
                }
                let skus = skus.iter().filter_map(|sku| found.remove(sku.as_str())).collect();
                Ok(v1::CheckAvailabilityResponse { skus })
            },
        )
        .await
    }

    async fn promise(
        &self,
        request: Request<v1::PromiseRequest>,
    ) -> Result<Response<v1::PromiseResponse>, Status> {
        self.read(
            "Promise",
            request,
            |request| request.consistency,
            |call| async move {
                let storefront = validation::storefront("storefront", call.request.storefront)?;
                let asked_for = Touched::one(storefront.as_str());
                self.api
                    .allow(&call.caller, Verb::Read, &asked_for, &Touched::Everything)?;
                let sku = validation::sku("sku", call.request.sku)?;
                let until_ms = match call.request.until_ms {
                    0 => u64::MAX,
                    until_ms => until_ms,
                };
                let shard = self.api.router.shard_of(&sku);
                let query = Query::Promise {
                    storefront,
                    sku,
                    until_ms,
                };
                let answer = self
                    .api
                    .query(shard, query, call.freshness, call.deadline)
                    .await?;
                let read = outbound::read_position(shard, &answer);
                match answer.reply {
                    QueryReply::Promise(view) => Ok(plans::promise(read, view)),
                    other => Err(wrong_reply(&other)),
                }
            },
        )
        .await
    }
}
