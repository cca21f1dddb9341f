//! The service for transfers, which are goods on their way between warehouses.

use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_api::v1::transfers_server::Transfers;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Query, QueryReply};
use tonic::{Request, Response, Status};

use super::{Service, caller};
use crate::api::wrong_reply;
use crate::mapping::{inbound, outbound, plans};
use crate::validation;

#[tonic::async_trait]
impl Transfers for Service {
    async fn transfer_out(
        &self,
        request: Request<v1::TransferOutRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("TransferOut", request, inbound::transfer_out).await
    }

    async fn transfer_in(
        &self,
        request: Request<v1::TransferInRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("TransferIn", request, inbound::transfer_in).await
    }

    async fn close_transfer(
        &self,
        request: Request<v1::CloseTransferRequest>,
    ) -> Result<Response<v1::StockResponse>, Status> {
        self.stocking("CloseTransfer", request, inbound::close_transfer)
            .await
    }

    async fn get_transfer(
        &self,
        request: Request<v1::GetTransferRequest>,
    ) -> Result<Response<v1::GetTransferResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.api
            .unary("GetTransfer", async {
                let freshness = validation::freshness("consistency", request.consistency)?;
                let (transfer_id, hint) = validation::transfer_key("transfer", request.transfer)?;
                let shard = match self.api.router.located_shard(hint)? {
                    Some(shard) => shard,
                    None => self.api.router.find_transfer(transfer_id, deadline).await?,
                };
                let query = Query::Transfer { transfer_id };
                let answer = self.api.query(shard, query, freshness, deadline).await?;
                let read = Some(outbound::read_position(shard, &answer));
                let whole = match answer.reply {
                    QueryReply::Transfer(Some(view)) if view.home.is_none() => Some((shard, view)),
                    // Other shards have a part of the transfer, or may have one.
                    QueryReply::Transfer(_) => {
                        let orders = &self.api.orders;
                        let whole = orders.whole_transfer(transfer_id, freshness, deadline).await;
                        whole.map_err(outbound::order_error)?
                    }
                    other => return Err(wrong_reply(&other)),
                };
                let Some((shard, view)) = whole else {
                    return Err(reasons::refusal(
                        v1::Reason::UnknownTransfer,
                        format!("shard {shard} has no such transfer"),
                    ));
                };
                let warehouses = Touched::These(vec![view.from.as_str(), view.to.as_str()]);
                self.api
                    .allow(&caller, Verb::Read, &Touched::Nothing, &warehouses)?;
                let transfer = Some(plans::transfer(shard, view));
                Ok(v1::GetTransferResponse { read, transfer })
            })
            .await
    }

    async fn list_transfers(
        &self,
        request: Request<v1::ListTransfersRequest>,
    ) -> Result<Response<v1::ListTransfersResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.api
            .unary("ListTransfers", async {
                let freshness = validation::freshness("consistency", request.consistency)?;
                let shard = request.shard;
                self.api.router.shard("shard", shard)?;
                self.api
                    .allow(&caller, Verb::Read, &Touched::Nothing, &Touched::Everything)?;
                let after = match &request.after_transfer_id {
                    none if none.is_empty() => None,
                    id => Some(validation::reservation_id("after_transfer_id", id)?),
                };
                let query = Query::OpenTransfers {
                    after,
                    limit: request.limit,
                };
                let answer = self.api.query(shard, query, freshness, deadline).await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Transfers(views) => {
                        let transfers = views.into_iter().map(|view| plans::transfer(shard, view));
                        let transfers = transfers.collect();
                        Ok(v1::ListTransfersResponse { read, transfers })
                    }
                    other => Err(wrong_reply(&other)),
                }
            })
            .await
    }
}
