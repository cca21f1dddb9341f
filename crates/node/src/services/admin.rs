//! The service for operators. Each method first checks [`Api::allow_admin`](crate::api::Api), and logs who
//! did what. A task for another node is sent over the peer port. That port connects all nodes already, and it
//! proves which node sends. So only operators need to reach the admin port.

use std::future::Future;

use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_api::v1::Reason;
use holdfast_api::v1::admin_server::Admin;
use holdfast_guard::audit;
use holdfast_shard::TransferError;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::placement::{self, Wanted};
use super::{Service, caller};
use super::{adopting, deciding};
use crate::directory::Membership;
use crate::reasoned;
use crate::security::Caller;

#[tonic::async_trait]
impl Admin for Service {
    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        self.administer(
            "TransferLeader",
            request,
            |caller, request, deadline| async move {
                audit::administered(caller.asker(), "transfer_leader", &[], Some(request.shard));
                let leader_node_id = self.hand_over(request, deadline).await?;
                Ok(v1::TransferLeaderResponse { leader_node_id })
            },
        )
        .await
    }

    async fn get_placement(
        &self,
        request: Request<v1::GetPlacementRequest>,
    ) -> Result<Response<v1::GetPlacementResponse>, Status> {
        self.administer("GetPlacement", request, |_, _, _| async move {
            placement::ensure_part(&self.api.membership)?;
            Ok(placement::describe(&self.api.membership, &self.api.peers))
        })
        .await
    }

    async fn add_node(
        &self,
        request: Request<v1::AddNodeRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        self.change_placement("AddNode", "add_node", request, placement::add)
            .await
    }

    async fn drain_node(
        &self,
        request: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        self.change_placement("DrainNode", "drain_node", request, placement::drain)
            .await
    }

    async fn remove_node(
        &self,
        request: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        self.change_placement("RemoveNode", "remove_node", request, placement::remove)
            .await
    }

    async fn rebalance(
        &self,
        request: Request<v1::RebalanceRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        self.change_placement("Rebalance", "rebalance", request, placement::rebalance)
            .await
    }

    async fn decide_entry(
        &self,
        request: Request<v1::DecideEntryRequest>,
    ) -> Result<Response<v1::DecideEntryResponse>, Status> {
        self.administer("DecideEntry", request, |caller, request, deadline| async move {
            placement::ensure_part(&self.api.membership)?;
            if !request.dry_run {
                audit::administered(caller.asker(), "decide_entry", &[], Some(request.shard));
            }
            deciding::decide(&self.api, caller.principal.as_str(), &request, deadline).await
        })
        .await
    }

    async fn adopt_rules(
        &self,
        request: Request<v1::AdoptRulesRequest>,
    ) -> Result<Response<v1::AdoptRulesResponse>, Status> {
        self.administer("AdoptRules", request, |caller, request, deadline| async move {
            placement::ensure_part(&self.api.membership)?;
            if !request.dry_run {
                audit::administered(caller.asker(), "adopt_rules", &[], None);
            }
            adopting::adopt(&self.api, &caller.principal, request, deadline).await
        })
        .await
    }
}

impl Service {
    /// Runs a change of the directory like [`Service::administer`], and logs it.
    async fn change_placement<Req: Send>(
        &self,
        method: &'static str,
        what: &'static str,
        request: Request<Req>,
        wanted: impl FnOnce(&Membership, Req) -> Result<Wanted, v1::Refusal> + Send,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        self.administer(method, request, |caller, request, deadline| async move {
            placement::ensure_part(&self.api.membership)?;
            let wanted = wanted(&self.api.membership, request)?;
            if !wanted.dry_run {
                audit::administered(caller.asker(), what, &wanted.node_ids, None);
            }
            placement::carry_out(&self.api.membership, wanted, deadline).await
        })
        .await
    }

    /// Runs the work of a call, if its caller may administer. Passes the call's deadline to the work.
    async fn administer<Req, Res, Work>(
        &self,
        method: &'static str,
        request: Request<Req>,
        work: impl FnOnce(Caller, Req, Instant) -> Work + Send,
    ) -> Result<Response<Res>, Status>
    where
        Req: Send,
        Work: Future<Output = Result<Res, v1::Refusal>> + Send,
    {
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        self.api
            .unary(method, async {
                self.api.allow_admin(&caller)?;
                work(caller, request.into_inner(), deadline).await
            })
            .await
    }

    /// Hands over leadership, here or at the node that leads. Returns the node that leads afterwards.
    async fn hand_over(
        &self,
        request: v1::TransferLeaderRequest,
        deadline: Instant,
    ) -> Result<u64, v1::Refusal> {
        let shard = self.api.router.shard("shard", request.shard)?;
        let to = Some(request.to_node_id).filter(|to| *to != 0);
        if let Some(to) = to
            && !self.api.nodes().iter().any(|node| node.node_id == to)
        {
            return Err(reasons::invalid(format!("to_node_id: there is no node {to}")));
        }
        let Ok(handed_over) = tokio::time::timeout_at(deadline, shard.transfer_leader(to)).await else {
            return Err(reasons::refusal(
                Reason::Deadline,
                "the handover did not end before the deadline: the topology shows which node leads",
            ));
        };
        match handed_over {
            Ok(leader) => Ok(leader),
            Err(TransferError::NotLeader { leader: Some(leader) }) if Some(leader) == to => Ok(leader),
            Err(TransferError::NotLeader { leader: Some(leader) }) => {
                let peers = &self.api.peers;
                peers
                    .hand_over(leader, request.shard, request.to_node_id, deadline)
                    .await
            }
            Err(error) => Err(reasoned::told(&error)),
        }
    }
}
