//! The service for the checkout.

use holdfast_api::v1;
use holdfast_api::v1::reservations_server::Reservations;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use tonic::{Request, Response, Status, Streaming};

use super::{Service, batch, caller};
use crate::api::Found;
use crate::intake::call_of;
use crate::intake::outgoing::Delivered;
use crate::mapping::inbound::{self, Taken};
use crate::mapping::outbound;
use crate::security::touched::warehouses_of;
use crate::validation::{self, Invalid};

impl Service {
    async fn transition<M>(
        &self,
        method: &'static str,
        request: Request<M>,
        take: fn(M) -> Result<Taken, Invalid>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let taken = take(request.into_inner());
        self.api
            .unary(method, async {
                let (shard, success) = self.api.decide(&caller, taken, deadline).await?;
                outbound::transitioned(shard, success)
            })
            .await
    }
}

#[tonic::async_trait]
impl Reservations for Service {
    type BatchStream = Delivered<v1::BatchResponse>;

    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let taken = inbound::reserve(request.into_inner());
        self.api
            .unary("Reserve", async {
                let (shard, success) = self.api.decide(&caller, taken, deadline).await?;
                outbound::reserved(shard, success)
            })
            .await
    }

    async fn extend(
        &self,
        request: Request<v1::ExtendRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.transition("Extend", request, inbound::extend).await
    }

    async fn commit(
        &self,
        request: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.transition("Commit", request, inbound::commit).await
    }

    async fn release(
        &self,
        request: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.transition("Release", request, inbound::release).await
    }

    async fn ship(
        &self,
        request: Request<v1::ShipRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.transition("Ship", request, inbound::ship).await
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.transition("Cancel", request, inbound::cancel).await
    }

    async fn r#return(
        &self,
        request: Request<v1::ReturnRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        self.transition("Return", request, inbound::take_back).await
    }

    async fn get_reservation(
        &self,
        request: Request<v1::GetReservationRequest>,
    ) -> Result<Response<v1::GetReservationResponse>, Status> {
        self.read(
            "GetReservation",
            request,
            |request| request.consistency,
            |call| async move {
                let key = validation::reservation_key("reservation", call.request.reservation)?;
                let Found { read, shard, view } =
                    self.api.reservation(key, call.freshness, call.deadline).await?;
                let storefront = Touched::one(view.storefront.as_str());
                let warehouses = Touched::These(warehouses_of(&view, &[]));
                self.api
                    .allow(&call.caller, Verb::Read, &storefront, &warehouses)?;
                Ok(v1::GetReservationResponse {
                    read: Some(read),
                    reservation: Some(outbound::reservation(shard, view)),
                })
            },
        )
        .await
    }

    async fn batch(
        &self,
        request: Request<Streaming<v1::BatchRequest>>,
    ) -> Result<Response<Self::BatchStream>, Status> {
        let caller = caller(&request)?;
        let call = call_of(&request);
        let messages = request.into_inner();
        self.api
            .unary("Batch", async { batch::start(&self.api, caller, call, messages) })
            .await
    }
}
