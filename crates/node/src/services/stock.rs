//! The service for the warehouse.

use holdfast_api::v1;
use holdfast_api::v1::stock_server::Stock;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Query, QueryReply};
use tonic::{Request, Response, Status};

use super::{ReadCall, Service, caller, listing};
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
        let ReadCall {
            caller,
            deadline,
            request,
            freshness,
        } = self.read(request, |request| request.consistency)?;
        self.api
            .unary("ListSupplies", async {
                let freshness = freshness?;
                let sku = validation::sku("sku", request.sku)?;
                let warehouse = validation::optional_warehouse("warehouse", request.warehouse)?;
                let warehouses = Touched::one_or_everything(warehouse.as_ref().map(|name| name.as_str()));
                self.api
                    .allow(&caller, Verb::Read, &Touched::Nothing, &warehouses)?;
                let shard = self.api.router.shard_of(&sku);
                let query = Query::Supplies { sku, warehouse };
                let answer = self.api.query(shard, query, freshness, deadline).await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Supplies(supplies) => {
                        let supplies = supplies.into_iter().map(plans::supply).collect();
                        Ok(v1::ListSuppliesResponse { read, supplies })
                    }
                    other => Err(wrong_reply(&other)),
                }
            })
            .await
    }

    async fn list_deficits(
        &self,
        request: Request<v1::ListDeficitsRequest>,
    ) -> Result<Response<v1::ListDeficitsResponse>, Status> {
        let ReadCall {
            caller,
            deadline,
            request,
            freshness,
        } = self.read(request, |request| request.consistency)?;
        self.api
            .unary("ListDeficits", async {
                let freshness = freshness?;
                self.api.router.shard("shard", request.shard)?;
                self.api
                    .allow(&caller, Verb::Read, &Touched::Nothing, &Touched::Everything)?;
                let after = match (request.after_sku.is_empty(), request.after_warehouse.is_empty()) {
                    (true, true) => None,
                    _ => Some((
                        validation::sku("after_sku", request.after_sku)?,
                        validation::warehouse("after_warehouse", request.after_warehouse)?,
                    )),
                };
                let query = Query::Deficits {
                    after,
                    limit: request.limit,
                };
                let shard = request.shard;
                let answer = self.api.query(shard, query, freshness, deadline).await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Deficits(deficits) => {
                        let deficits = deficits.into_iter().map(plans::deficit).collect();
                        Ok(v1::ListDeficitsResponse { read, deficits })
                    }
                    other => Err(wrong_reply(&other)),
                }
            })
            .await
    }

    async fn get_stock(
        &self,
        request: Request<v1::GetStockRequest>,
    ) -> Result<Response<v1::GetStockResponse>, Status> {
        let ReadCall {
            caller,
            deadline,
            request,
            freshness,
        } = self.read(request, |request| request.consistency)?;
        self.api
            .unary("GetStock", async {
                let freshness = freshness?;
                let sku = validation::sku("sku", request.sku)?;
                let warehouse = validation::optional_warehouse("warehouse", request.warehouse)?;
                // A cell shows the pools of all storefronts.
                let warehouses = Touched::one_or_everything(warehouse.as_ref().map(|name| name.as_str()));
                self.api
                    .allow(&caller, Verb::Read, &Touched::Everything, &warehouses)?;
                let shard = self.api.router.shard_of(&sku);
                let answer = self
                    .api
                    .query(shard, Query::Cells { sku, warehouse }, freshness, deadline)
                    .await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Cells(cells) => {
                        let cells = cells.into_iter().map(outbound::cell).collect();
                        Ok(v1::GetStockResponse { read, cells })
                    }
                    other => Err(wrong_reply(&other)),
                }
            })
            .await
    }

    async fn list_stock(
        &self,
        request: Request<v1::ListStockRequest>,
    ) -> Result<Response<Self::ListStockStream>, Status> {
        let ReadCall {
            caller,
            deadline,
            request,
            freshness,
        } = self.read(request, |request| request.consistency)?;
        self.api
            .unary("ListStock", async {
                let freshness = freshness?;
                let shards = match request.shard {
                    Some(shard) => {
                        self.api.router.shard("shard", shard)?;
                        vec![shard]
                    }
                    None => (0..self.api.router.shards().len() as u32).collect(),
                };
                self.api
                    .allow(&caller, Verb::Read, &Touched::Everything, &Touched::Everything)?;
                let place = self.api.change_streams.take(caller.party())?;
                Ok(listing::start(&self.api, shards, freshness, deadline, place))
            })
            .await
    }
}
