//! Who is there and who leads.

use holdfast_proto::v1;
use holdfast_proto::v1::Reason;
use holdfast_proto::v1::cluster_client::ClusterClient;
use holdfast_proto::v1::cluster_server::Cluster;
use holdfast_shard::TransferError;
use tokio::time::Instant;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Request, Response, Status};

use super::{Service, caller};
use crate::api::PROXIED;
use crate::clock;
use crate::errors;
use crate::router::slots_of_shard;
use crate::security::audit;
use crate::security::policy::Touched;
use crate::security::verb::Verb;

#[tonic::async_trait]
impl Cluster for Service {
    async fn get_topology(
        &self,
        request: Request<v1::GetTopologyRequest>,
    ) -> Result<Response<v1::GetTopologyResponse>, Status> {
        let caller = caller(&request)?;
        self.api
            .unary("GetTopology", async {
                self.api.allow_known(&caller)?;
                let shards = self.api.router.shards();
                let shard_count = shards.len() as u32;
                Ok(v1::GetTopologyResponse {
                    cluster_id: bytes::Bytes::copy_from_slice(self.api.identity.cluster_id.as_bytes()),
                    node_id: self.api.identity.node_id,
                    nodes: self
                        .api
                        .nodes
                        .iter()
                        .map(|node| v1::Node {
                            node_id: node.node_id,
                            client_address: node.client_address.clone(),
                            reachable: self.api.peers.is_reachable(node.node_id),
                        })
                        .collect(),
                    shards: shards
                        .iter()
                        .map(|shard| {
                            let status = shard.status();
                            let (first_slot, last_slot) = slots_of_shard(status.shard, shard_count);
                            v1::Shard {
                                shard: status.shard,
                                leader_node_id: status.leader.unwrap_or(0),
                                voters: status.voters,
                                first_slot,
                                last_slot,
                            }
                        })
                        .collect(),
                    slots: u32::from(holdfast_ledger::SLOTS),
                })
            })
            .await
    }

    async fn get_node_status(
        &self,
        request: Request<v1::GetNodeStatusRequest>,
    ) -> Result<Response<v1::GetNodeStatusResponse>, Status> {
        let caller = caller(&request)?;
        self.api
            .unary("GetNodeStatus", async {
                self.api.allow_known(&caller)?;
                let replica = |status: holdfast_shard::ReplicaStatus| v1::ReplicaStatus {
                    shard: status.shard,
                    role: status.role.as_str().to_owned(),
                    term: status.term,
                    last_log_index: status.last_log_index,
                    committed_index: status.committed_index,
                    applied_index: status.applied_index,
                    snapshot_index: status.snapshot_index,
                    change_seq: status.last_seq,
                    cells: status.cells,
                    live_reservations: status.live_reservations,
                    log_time_ms: status.log_time_ms,
                };
                Ok(v1::GetNodeStatusResponse {
                    node_id: self.api.identity.node_id,
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    uptime_ms: u64::try_from(self.api.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                    replicas: self
                        .api
                        .router
                        .shards()
                        .iter()
                        .map(|shard| replica(shard.status()))
                        .collect(),
                    wall_clock_ms: clock::wall_clock_ms(),
                })
            })
            .await
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let proxied = request.metadata().contains_key(PROXIED);
        let deadline = self.api.deadline(request.metadata());
        let caller = caller(&request)?;
        let request = request.into_inner();
        self.api
            .unary("TransferLeader", async {
                self.api
                    .allow(&caller, Verb::Admin, &Touched::Nothing, &Touched::Nothing)?;
                audit::administered(&caller, "transfer_leader", request.shard);
                let handle = self.api.router.shard("shard", request.shard)?;
                let to = Some(request.to_node_id).filter(|to| *to != 0);
                if let Some(to) = to
                    && !self.api.nodes.iter().any(|node| node.node_id == to)
                {
                    return Err(errors::invalid(format!("to_node_id: there is no node {to}")));
                }
                let handover = tokio::time::timeout_at(deadline, handle.transfer_leader(to));
                let Ok(handed_over) = handover.await else {
                    return Err(errors::refusal(
                        Reason::Deadline,
                        "the handover did not end before the deadline: the topology tells who leads",
                    ));
                };
                match handed_over {
                    Ok(leader_node_id) => Ok(v1::TransferLeaderResponse { leader_node_id }),
                    // It leads already, or it is for another node to hand over.
                    Err(TransferError::NotLeader { leader: Some(leader) }) if Some(leader) == to => {
                        Ok(v1::TransferLeaderResponse {
                            leader_node_id: leader,
                        })
                    }
                    Err(TransferError::NotLeader { leader: Some(leader) }) if !proxied => {
                        self.ask_leader(leader, request, deadline).await
                    }
                    Err(error) => Err(transfer_refusal(&error)),
                }
            })
            .await
    }
}

impl Service {
    async fn ask_leader(
        &self,
        leader: u64,
        request: v1::TransferLeaderRequest,
        deadline: Instant,
    ) -> Result<v1::TransferLeaderResponse, v1::Refusal> {
        let Some(channel) = self.api.peers.client_channel(leader) else {
            return Err(errors::refusal(
                Reason::NoLeader,
                format!("this node does not know node {leader}"),
            ));
        };
        let mut request = Request::new(request);
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        request
            .metadata_mut()
            .insert(PROXIED, AsciiMetadataValue::from_static("1"));
        match ClusterClient::new(channel).transfer_leader(request).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(errors::refusal_in(&status).unwrap_or_else(|| {
                errors::refusal(Reason::NoLeader, format!("node {leader}: {}", status.message()))
            })),
        }
    }
}

fn transfer_refusal(error: &TransferError) -> v1::Refusal {
    let reason = match error {
        TransferError::NotAVoter(_) => Reason::InvalidRequest,
        TransferError::NotLeader { .. } | TransferError::NobodyElse | TransferError::Stopped => {
            Reason::NoLeader
        }
        TransferError::NotTaken(_) => Reason::OutcomeUnknown,
    };
    errors::refusal(reason, error.to_string())
}
