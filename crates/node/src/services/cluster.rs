//! The service that says which nodes there are, and which node leads each shard.

use bytes::Bytes;
use holdfast_api::slots::slots_of_shard;
use holdfast_api::v1;
use holdfast_api::v1::cluster_server::Cluster;
use holdfast_ledger::Rules;
use holdfast_shard::{ConsumerStatus, Halt, ReplicaStatus, Role, ShardHandle};
use tonic::{Request, Response, Status};

use super::{Service, caller};
use crate::api::Api;
use crate::clock;
use crate::space::Space;

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
                    cluster_id: Bytes::copy_from_slice(self.api.identity.cluster_id.as_bytes()),
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
                    slots: u32::from(holdfast_api::slots::SLOTS),
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
                Ok(node_status(&self.api))
            })
            .await
    }
}

/// Reports this node's state.
pub(crate) fn node_status(api: &Api) -> v1::GetNodeStatusResponse {
    v1::GetNodeStatusResponse {
        uptime_ms: u64::try_from(api.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        ..status_of(api.identity.node_id, api.router.shards(), &api.space)
    }
}

/// Reports the state of a node with these shards, without its uptime.
pub(crate) fn status_of(node_id: u64, shards: &[ShardHandle], space: &Space) -> v1::GetNodeStatusResponse {
    let replicas = shards.iter().map(|shard| (shard.status(), shard.consumers()));
    let replicas = replicas.filter(|(status, _)| status.role != Role::Absent);
    v1::GetNodeStatusResponse {
        node_id,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_ms: 0,
        replicas: replicas
            .map(|(status, consumers)| replica(status, consumers))
            .collect(),
        wall_clock_ms: clock::wall_clock_ms(),
        newest_rules: Rules::NEWEST.number(),
        disk: Some(space.found().message()),
    }
}

fn consumer_lag(status: ConsumerStatus) -> v1::ConsumerLag {
    v1::ConsumerLag {
        name: status.consumer.name.into(),
        required: status.consumer.required,
        lag_changes: status.lag_changes,
        lag_ms: status.lag_ms,
        advanced_ago_ms: status.advanced_ago_ms,
    }
}

fn replica(status: ReplicaStatus, consumers: Vec<ConsumerStatus>) -> v1::ReplicaStatus {
    v1::ReplicaStatus {
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
        halt: status.halted.as_ref().map(halt),
        rules: status.rules,
        first_change_seq: status.first_seq,
        consumers: consumers.into_iter().map(consumer_lag).collect(),
    }
}

/// Converts a halt to its public message.
pub(crate) fn halt(halt: &Halt) -> v1::Halt {
    let named = halt.named.iter().map(|command| v1::HaltedCommand {
        kind: command.kind.to_owned(),
        operation_id: Bytes::copy_from_slice(command.operation_id.as_bytes()),
    });
    v1::Halt {
        log_index: halt.index,
        cause: halt.cause.as_str().to_owned(),
        what: halt.what.clone(),
        log_time_ms: halt.log_time_ms,
        commands: halt.commands,
        named: named.collect(),
    }
}
