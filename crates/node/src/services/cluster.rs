//! Who is there and who leads.

use holdfast_proto::v1;
use holdfast_proto::v1::cluster_server::Cluster;
use holdfast_shard::{Role, ShardHandle};
use tonic::{Request, Response, Status};

use super::{Service, caller};
use crate::clock;
use crate::router::slots_of_shard;

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
                        .nodes()
                        .iter()
                        .map(|node| v1::Node {
                            node_id: node.node_id,
                            client_address: node.client_address.clone(),
                            reachable: self.api.peers.is_reachable(node.node_id),
                            admin_address: node.admin_address.clone().unwrap_or_default(),
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
                    generation: status.generation,
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
                        .map(ShardHandle::status)
                        .filter(|status| status.role != Role::Absent)
                        .map(replica)
                        .collect(),
                    wall_clock_ms: clock::wall_clock_ms(),
                })
            })
            .await
    }
}
