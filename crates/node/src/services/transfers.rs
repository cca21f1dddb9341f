//! The service for transfers, which are goods on their way between warehouses.

use holdfast_api::v1;
use holdfast_api::v1::transfers_server::Transfers;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Query, QueryReply};
use tonic::{Request, Response, Status};

use super::Service;
use crate::api::{Found, wrong_reply};
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
        self.read(
            "GetTransfer",
            request,
            |request| request.consistency,
            |call| async move {
                let key = validation::transfer_key("transfer", call.request.transfer)?;
                let Found { read, shard, view } =
                    self.api.transfer(key, call.freshness, call.deadline).await?;
                let warehouses = Touched::These(vec![view.from.as_str(), view.to.as_str()]);
                self.api
                    .allow(&call.caller, Verb::Read, &Touched::Nothing, &warehouses)?;
                Ok(v1::GetTransferResponse {
                    read: Some(read),
                    transfer: Some(plans::transfer(shard, view)),
                })
            },
        )
        .await
    }

    async fn list_transfers(
        &self,
        request: Request<v1::ListTransfersRequest>,
    ) -> Result<Response<v1::ListTransfersResponse>, Status> {
        self.read(
            "ListTransfers",
            request,
            |request| request.consistency,
            |call| async move {
                let shard = call.request.shard;
                self.api.router.shard("shard", shard)?;
                self.api
                    .allow(&call.caller, Verb::Read, &Touched::Nothing, &Touched::Everything)?;
                let after = match &call.request.after_transfer_id {
                    none if none.is_empty() => None,
                    id => Some(validation::reservation_id("after_transfer_id", id)?),
                };
                let query = Query::OpenTransfers {
                    after,
                    limit: call.request.limit,
                };
                let answer = self
                    .api
                    .query(shard, query, call.freshness, call.deadline)
                    .await?;
                let read = Some(outbound::read_position(shard, &answer));
                match answer.reply {
                    QueryReply::Transfers(views) => {
                        let transfers = views.into_iter().map(|view| plans::transfer(shard, view));
                        let transfers = transfers.collect();
                        Ok(v1::ListTransfersResponse { read, transfers })
                    }
                    other => Err(wrong_reply(&other)),
                }
            },
        )
        .await
    }
}
