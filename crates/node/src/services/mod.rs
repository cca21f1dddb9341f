//! The public API, with one file for each service of `proto/holdfast/v1`. A method checks its request, asks a
//! shard, and answers. The code that all methods share is in `api.rs`. [`admin`] and [`backup`] have a port
//! of their own; all other services are on the port for clients.

mod admin;
mod adopting;
mod availability;
mod backup;
mod batch;
mod changes;
pub(crate) mod cluster;
mod consumers;
pub(crate) mod deciding;
mod history;
mod listing;
mod placement;
mod reservations;
mod slices;
mod stock;
mod transfers;

pub(crate) use batch::ANSWER_BYTES as BATCH_ANSWER_BYTES;
pub(crate) use changes::STREAM_BYTES as CHANGE_STREAM_BYTES;
pub(crate) use slices::MESSAGE_BYTES as STREAM_MESSAGE_BYTES;

use std::sync::Arc;

use holdfast_api::limits::MAX_MESSAGE_BYTES;
use holdfast_api::reasons;
use holdfast_api::v1::admin_server::AdminServer;
use holdfast_api::v1::availability_server::AvailabilityServer;
use holdfast_api::v1::backup_server::BackupServer;
use holdfast_api::v1::changes_server::ChangesServer;
use holdfast_api::v1::cluster_server::ClusterServer;
use holdfast_api::v1::history_server::HistoryServer;
use holdfast_api::v1::reservations_server::ReservationsServer;
use holdfast_api::v1::stock_server::StockServer;
use holdfast_api::v1::transfers_server::TransfersServer;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_shard::Freshness;
use prost::Message as _;
use tokio::time::Instant;
use tonic::server::NamedService;
use tonic::service::{Routes, RoutesBuilder};
use tonic::{Request, Response, Status};

use crate::api::Api;
use crate::security::Caller;
use crate::validation;

/// All public services. Each answers from the same [`Api`].
#[derive(Clone)]
pub(crate) struct Service {
    api: Arc<Api>,
}

/// Returns the sender of a request, as its connection recorded it.
fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| {
        let message = "the node does not know who is at the other end of a connection";
        reasons::status(reasons::refusal(Reason::Internal, message))
    })
}

/// A request that reads, as every read begins with it.
struct ReadCall<T> {
    caller: Caller,
    deadline: Instant,
    request: T,
    freshness: Freshness,
}

impl Service {
    /// Answers a request that reads. `consistency` finds the consistency that it asks for.
    async fn read<T, R, A>(
        &self,
        method: &'static str,
        request: Request<T>,
        consistency: fn(&T) -> i32,
        answer: impl FnOnce(ReadCall<T>) -> A,
    ) -> Result<Response<R>, Status>
    where
        A: Future<Output = Result<R, Refusal>>,
    {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.api
            .unary(method, async {
                let freshness = validation::freshness("consistency", consistency(&request))?;
                answer(ReadCall {
                    caller,
                    deadline,
                    request,
                    freshness,
                })
                .await
            })
            .await
    }
}

/// Returns the names under which the services for clients report their health.
pub(crate) fn names() -> [&'static str; 7] {
    [
        ReservationsServer::<Service>::NAME,
        StockServer::<Service>::NAME,
        TransfersServer::<Service>::NAME,
        AvailabilityServer::<Service>::NAME,
        ChangesServer::<Service>::NAME,
        ClusterServer::<Service>::NAME,
        HistoryServer::<Service>::NAME,
    ]
}

/// Returns the routes of the services for clients, and of `others`.
pub(crate) fn routes(api: Arc<Api>, mut others: RoutesBuilder) -> Routes {
    let service = Service { api };
    others
        .add_service(ReservationsServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(StockServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(TransfersServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(AvailabilityServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(ChangesServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(ClusterServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(HistoryServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES));
    others.routes()
}

/// Returns the routes of the services for operators. With `reflection`, also of a service that shows the
/// whole public contract.
///
/// # Errors
/// The compiled contract is not readable, which is a defect of the build.
pub(crate) fn admin_routes(
    api: Arc<Api>,
    reflection: bool,
) -> Result<Routes, tonic_reflection::server::Error> {
    let mut routes = Routes::builder();
    let service = Service { api };
    routes
        .add_service(AdminServer::new(service.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES))
        .add_service(BackupServer::new(service).max_decoding_message_size(MAX_MESSAGE_BYTES));
    if reflection {
        let contract =
            tonic_reflection::server::Builder::configure().register_file_descriptor_set(public_contract()?);
        routes.add_service(contract.build_v1()?);
    }
    Ok(routes.routes())
}

/// Returns the contract without the messages between nodes.
fn public_contract() -> Result<prost_types::FileDescriptorSet, prost::DecodeError> {
    let mut contract = prost_types::FileDescriptorSet::decode(holdfast_api::DESCRIPTORS)?;
    contract.file.retain(|file| file.package() != "holdfast.peer.v1");
    Ok(contract)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reflection_shows_the_public_contract_only() {
        let packages: std::collections::BTreeSet<String> = public_contract()
            .unwrap()
            .file
            .iter()
            .map(|file| file.package().to_owned())
            .collect();
        assert_eq!(packages, ["holdfast.v1".to_owned()].into());
    }
}
