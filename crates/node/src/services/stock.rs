//! The service for the warehouse.

use holdfast_api::v1;
use holdfast_api::v1::stock_server::Stock;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Query, QueryReply};
use tonic::{Request, Response, Status};

use super::{Service, caller, listing};
use crate::api::wrong_reply;
use crate::intake::outgoing::Delivered;
use crate::mapping::inbound::{self, Taken};
use crate::mapping::{outbound, plans};
use crate::validation::{self, Invalid};

impl Service {
    pub(super) async fn stocking<M>(
        &self,
        method: &'static str,
        request: Request<M>,
        take: fn(M) -> Result<Taken, Invalid>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let taken = take(request.into_inner());
        self.api
            .unary(method, async {
                let (shard, success) = self.api.decide(&caller, taken, deadline).await?;
                outbound::stocked(shard, success)
            })
            .await
    }
}

#[tonic::async_trait]
impl Stock for Service {
    type ListStockStream = Delivered<v1::ListStockResponse>;

    async fn receive(
        &self,
        request: Request<v1::ReceiveRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("Receive", request, inbound::receive).await
    }

    async fn adjust(
        &self,
        request: Request<v1::AdjustRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("Adjust", request, inbound::adjust).await
    }

    async fn count(&self, request: Request<v1::CountRequest>) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("Count", request, inbound::count).await
    }

    async fn move_bucket(
        &self,
        request: Request<v1::MoveBucketRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("MoveBucket", request, inbound::move_bucket).await
    }

    async fn set_policy(
        &self,
        request: Request<v1::SetPolicyRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("SetPolicy", request, inbound::set_policy).await
    }

    async fn allocate_pool(
        &self,
        request: Request<v1::AllocatePoolRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("AllocatePool", request, inbound::allocate_pool)
            .await
    }

    async fn expect_supply(
        &self,
        request: Request<v1::ExpectSupplyRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("ExpectSupply", request, inbound::expect_supply)
            .await
    }

    async fn list_supplies(
        &self,
        request: Request<v1::ListSuppliesRequest>,
    ) -> Result<Response<v1::ListSuppliesResponse>, Status> {
        self.read(
            "ListSupplies",
            request,
            |request| request.consistency,
            |call| async move {
                let sku = validation::sku("sku", call.request.sku)?;
                let warehouse = validation::optional_warehouse("warehouse", call.request.warehouse)?;
                let warehouses = Touched::one_or_everything(warehouse.as_ref().map(|name| name.as_str()));
                self.api
                    .allow(&call.caller, Verb::Read, &Touched::Nothing, &warehouses)?;
                let shard = self.api.router.shard_of(&sku);
                let query = Query::Supplies { sku, warehouse };
                let answer = self
                    .api
                    .query(shard, query, call.freshness, call.deadline)
                    .await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Supplies(supplies) => {
                        let supplies = supplies.into_iter().map(plans::supply).collect();
                        Ok(v1::ListSuppliesResponse { read, supplies })
                    }
                    other => Err(wrong_reply(&other)),
                }
            },
        )
        .await
    }

    async fn list_deficits(
        &self,
        request: Request<v1::ListDeficitsRequest>,
    ) -> Result<Response<v1::ListDeficitsResponse>, Status> {
        self.read(
            "ListDeficits",
            request,
            |request| request.consistency,
            |call| async move {
                self.api.router.shard("shard", call.request.shard)?;
                self.api
                    .allow(&call.caller, Verb::Read, &Touched::Nothing, &Touched::Everything)?;
                let after = match (
                    call.request.after_sku.is_empty(),
                    call.request.after_warehouse.is_empty(),
                ) {
                    (true, true) => None,
                    _ => Some((
                        validation::sku("after_sku", call.request.after_sku)?,
                        validation::warehouse("after_warehouse", call.request.after_warehouse)?,
                    )),
                };
                let query = Query::Deficits {
                    after,
                    limit: call.request.limit,
                };
                let shard = call.request.shard;
                let answer = self
                    .api
                    .query(shard, query, call.freshness, call.deadline)
                    .await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Deficits(deficits) => {
                        let deficits = deficits.into_iter().map(plans::deficit).collect();
                        Ok(v1::ListDeficitsResponse { read, deficits })
                    }
                    other => Err(wrong_reply(&other)),
                }
            },
        )
        .await
    }

    async fn get_stock(
        &self,
        request: Request<v1::GetStockRequest>,
    ) -> Result<Response<v1::GetStockResponse>, Status> {
        self.read(
            "GetStock",
            request,
            |request| request.consistency,
            |call| async move {
                let sku = validation::sku("sku", call.request.sku)?;
                let warehouse = validation::optional_warehouse("warehouse", call.request.warehouse)?;
                // A cell shows the pools of all storefronts.
                let warehouses = Touched::one_or_everything(warehouse.as_ref().map(|name| name.as_str()));
                self.api
                    .allow(&call.caller, Verb::Read, &Touched::Everything, &warehouses)?;
                let shard = self.api.router.shard_of(&sku);
                let answer = self
                    .api
                    .query(
                        shard,
                        Query::Cells { sku, warehouse },
                        call.freshness,
                        call.deadline,
                    )
                    .await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Cells(cells) => {
                        let cells = cells.into_iter().map(outbound::cell).collect();
                        Ok(v1::GetStockResponse { read, cells })
                    }
                    other => Err(wrong_reply(&other)),
                }
            },
        )
        .await
    }

    async fn list_stock(
        &self,
        request: Request<v1::ListStockRequest>,
    ) -> Result<Response<Self::ListStockStream>, Status> {
        self.read(
            "ListStock",
            request,
            |request| request.consistency,
            |call| async move {
                let shards = match call.request.shard {
                    Some(shard) => {
                        self.api.router.shard("shard", shard)?;
                        vec![shard]
                    }
                    None => (0..self.api.router.shards().len() as u32).collect(),
                };
                self.api.allow(
                    &call.caller,
                    Verb::Read,
                    &Touched::Everything,
                    &Touched::Everything,
                )?;
                let place = self.api.change_streams.take(call.caller.party())?;
                Ok(listing::start(
                    &self.api,
                    shards,
                    call.freshness,
                    call.deadline,
                    place,
                ))
            },
        )
        .await
    }
}
