//! `holdfast cluster placement`: shows members, waiting nodes and replicas.

use holdfast_client::{AdminClient, v1};
use serde_json::{Value, json};

use crate::context::Context;

pub(super) async fn show(admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let placement = admin.get_placement(v1::GetPlacementRequest {}).await?;
    if context.json {
        context.output.json(&placement_json(&placement))?;
        return Ok(());
    }
    let members: Vec<Vec<String>> = placement
        .members
        .iter()
        .map(|member| {
            let state = match (member.draining, member.reachable) {
                (true, true) => "draining",
                (true, false) => "draining, not reachable",
                (false, true) => "member",
                (false, false) => "not heard",
            };
            vec![
                member.node_id.to_string(),
                state.to_owned(),
                member.replicas.to_string(),
                or_dash(&member.zone),
                member.peer_address.clone(),
            ]
        })
        .chain(placement.waiting.iter().map(|waiting| {
            let state = match waiting.replaces_a_disk {
                true => "back with another disk",
                false => "waiting to be added",
            };
            vec![
                waiting.node_id.to_string(),
                state.to_owned(),
                "-".to_owned(),
                or_dash(&waiting.zone),
                waiting.peer_address.clone(),
            ]
        }))
        .collect();
    context
        .output
        .table(&["NODE", "STATE", "REPLICAS", "ZONE", "ADDRESS"], &members)?;
    context.output.line("")?;
    let shards: Vec<Vec<String>> = placement
        .shards
        .iter()
        .map(|shard| {
            let former: Vec<u64> = leaving(shard);
            let state = match (shard.former_node_ids.is_empty(), former.is_empty()) {
                (true, _) => "there".to_owned(),
                (false, true) => "on its way".to_owned(),
                (false, false) => format!("on its way from {}", list(&former)),
            };
            vec![shard.shard.to_string(), list(&shard.node_ids), state]
        })
        .collect();
    context.output.table(&["SHARD", "NODES", "STATE"], &shards)?;
    if placement.balancing {
        context.output.note("replicas are being spread evenly");
    }
    Ok(())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-" } else { text }.to_owned()
}

fn list(nodes: &[u64]) -> String {
    let nodes: Vec<String> = nodes.iter().map(u64::to_string).collect();
    nodes.join(", ")
}

/// Returns the nodes that will lose their replica of the shard.
pub(super) fn leaving(shard: &v1::ShardPlacement) -> Vec<u64> {
    let former = shard.former_node_ids.iter().copied();
    former.filter(|node| !shard.node_ids.contains(node)).collect()
}

fn placement_json(placement: &v1::GetPlacementResponse) -> Value {
    json!({
        "replication_factor": placement.replication_factor,
        "balancing": placement.balancing,
        "version": placement.version,
        "directory_leader_node_id": placement.directory_leader_node_id,
        "members": placement.members.iter().map(|member| json!({
            "node_id": member.node_id,
            "client_address": member.client_address,
            "peer_address": member.peer_address,
            "zone": member.zone,
            "draining": member.draining,
            "reachable": member.reachable,
            "replicas": member.replicas,
        })).collect::<Vec<_>>(),
        "waiting": placement.waiting.iter().map(|waiting| json!({
            "node_id": waiting.node_id,
            "peer_address": waiting.peer_address,
            "zone": waiting.zone,
            "replaces_a_disk": waiting.replaces_a_disk,
        })).collect::<Vec<_>>(),
        "shards": placement.shards.iter().map(|shard| json!({
            "shard": shard.shard,
            "node_ids": shard.node_ids,
            "former_node_ids": shard.former_node_ids,
        })).collect::<Vec<_>>(),
    })
}
