//! The client of operators. It connects to the admin ports of the nodes, which other clients do not use.

use std::time::Duration;

use holdfast_api::v1;
use holdfast_api::v1::admin_client::AdminClient as Service;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use crate::attempts::Kind;
use crate::client::Client;
use crate::routes::{Route, Routes};
use crate::{ClientError, ClientOptions};

/// A connection to the admin ports of a cluster. Any node takes any call, so one address is enough. With
/// several addresses, the next one is tried when one does not answer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AdminClient(Client);

impl AdminClient {
    /// Makes a client for these admin ports. It connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::Options`] when an endpoint is not an address.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        Client::with_routes(options, Routes::fixed()).map(Self)
    }

    /// Returns the same connections with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        Self(self.0.with_deadline(deadline))
    }

    /// Hands over a shard's leadership. Asking twice for the same node has the effect of asking once; the
    /// answer names the leader.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn transfer_leader(
        &self,
        request: v1::TransferLeaderRequest,
    ) -> Result<v1::TransferLeaderResponse, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.transfer_leader(request).await },
        )
        .await
    }

    /// Returns members, waiting nodes, and where replicas are and should be, as the asked node knows it.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn get_placement(
        &self,
        request: v1::GetPlacementRequest,
    ) -> Result<v1::GetPlacementResponse, ClientError> {
        self.ask(Kind::Read, request, |mut service, request| async move {
            service.get_placement(request).await
        })
        .await
    }

    /// Makes a node that has introduced itself a member. Nothing changes for a node that is a member already.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn add_node(&self, request: v1::AddNodeRequest) -> Result<v1::PlacementChange, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.add_node(request).await },
        )
        .await
    }

    /// Begins to move the replicas of nodes to other nodes, or undoes that. Asking twice has the effect of
    /// asking once.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn drain_node(
        &self,
        request: v1::DrainNodeRequest,
    ) -> Result<v1::PlacementChange, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.drain_node(request).await },
        )
        .await
    }

    /// Removes a node that has no replicas. Nothing changes for a node that is not a member.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn remove_node(
        &self,
        request: v1::RemoveNodeRequest,
    ) -> Result<v1::PlacementChange, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.remove_node(request).await },
        )
        .await
    }

    /// Begins to spread replicas evenly. Asking twice has the effect of asking once.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn rebalance(&self, request: v1::RebalanceRequest) -> Result<v1::PlacementChange, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.rebalance(request).await },
        )
        .await
    }

    /// Uses a rule to decide an entry that no replica of a shard can apply, or returns what would be decided.
    /// Deciding twice has the effect of deciding once, because after the first time no replica is halted
    /// there.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn decide_entry(
        &self,
        request: v1::DecideEntryRequest,
    ) -> Result<v1::DecideEntryResponse, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.decide_entry(request).await },
        )
        .await
    }

    /// Makes every shard decide by newer rules. Asking twice has the effect of asking once.
    ///
    /// # Errors
    /// [`ClientError`] says whether the request had no effect or may have had one.
    pub async fn adopt_rules(
        &self,
        request: v1::AdoptRulesRequest,
    ) -> Result<v1::AdoptRulesResponse, ClientError> {
        self.ask(
            Kind::Mutation(|_| None),
            request,
            |mut service, request| async move { service.adopt_rules(request).await },
        )
        .await
    }

    async fn ask<Req, Res, Sent>(
        &self,
        kind: Kind<Req>,
        request: Req,
        send: impl Fn(Service<Channel>, Request<Req>) -> Sent,
    ) -> Result<Res, ClientError>
    where
        Req: Clone,
        Sent: Future<Output = Result<Response<Res>, Status>>,
    {
        let send = |channel, request| send(Service::new(channel), request);
        self.0.call(kind, |_| Route::Any, request, send).await
    }
}
