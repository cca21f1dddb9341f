//! `holdfast cluster status`: shows who is there and who leads.

use futures::future::join_all;
use holdfast_client::{Client, ClientError, v1};
use serde_json::{Value, json};

use super::deciding;
use crate::context::Context;
use crate::render;

type NodeStatus = (v1::Node, Result<v1::GetNodeStatusResponse, ClientError>);

pub(super) async fn status(context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let topology = client.refresh_topology().await?;
    let statuses = join_all(topology.nodes.iter().map(|node| ask(client, node))).await;
    if context.json {
        context.output.json(&status_json(&topology, &statuses))?;
        return Ok(());
    }
    context.output.line(format!(
        "cluster {}, as node {} sees it",
        render::id(&topology.cluster_id),
        topology.node_id
    ))?;
    context.output.line("")?;
    let nodes: Vec<Vec<String>> = statuses
        .iter()
        .map(|(node, status)| node_row(&topology, node, status))
        .collect();
    context
        .output
        .table(&["NODE", "ADDRESS", "STATE", "LEADS", "VERSION", "UP"], &nodes)?;
    context.output.line("")?;
    let shards: Vec<Vec<String>> = topology
        .shards
        .iter()
        .map(|shard| shard_row(shard, &statuses))
        .collect();
    context.output.table(
        &[
            "SHARD",
            "LEADER",
            "TERM",
            "COMMITTED",
            "CHANGES",
            "RULES",
            "CELLS",
            "LIVE RESERVATIONS",
            "BEHIND",
            "SLOTS",
        ],
        &shards,
    )?;
    for (node_id, shard, halt) in halted(&statuses) {
        context.output.note(format!(
            "the replica of shard {shard} on node {node_id} is {}",
            deciding::describe(halt)
        ));
    }
    for (node_id, disk) in low_disks(&statuses) {
        context.output.note(format!(
            "the disk of node {node_id} is {}: {} MiB left, less than {} MiB, so nothing new is accepted (see cluster/runbooks/disk.md)",
            disk.state,
            disk.available_bytes >> 20,
            disk.low_below_bytes >> 20
        ));
    }
    for (shard, consumer) in held_back(&topology, &statuses) {
        context.output.note(format!(
            "the required consumer `{}` is {} changes and {} behind in shard {shard}: nodes keep what it has not passed, and their disks fill",
            consumer.name,
            consumer.lag_changes,
            uptime(consumer.lag_ms)
        ));
    }
    let leaderless = topology
        .shards
        .iter()
        .filter(|shard| shard.leader_node_id == 0)
        .count();
    if leaderless > 0 {
        context.output.note(format!("{leaderless} of {} shards have no leader: they refuse writes until a majority of their nodes is running", topology.shards.len()));
    }
    Ok(())
}

async fn ask(client: &Client, node: &v1::Node) -> NodeStatus {
    let status = client.get_node_status(&client.address_of(node)).await;
    (node.clone(), status)
}

fn node_row(
    topology: &v1::GetTopologyResponse,
    node: &v1::Node,
    status: &Result<v1::GetNodeStatusResponse, ClientError>,
) -> Vec<String> {
    let leads = topology
        .shards
        .iter()
        .filter(|shard| shard.leader_node_id == node.node_id)
        .count();
    let (state, version, up) = match status {
        Ok(status) => ("up", status.version.clone(), uptime(status.uptime_ms)),
        Err(_) => ("down", "-".to_owned(), "-".to_owned()),
    };
    vec![
        node.node_id.to_string(),
        node.client_address.clone(),
        state.to_owned(),
        leads.to_string(),
        version,
        up,
    ]
}

fn uptime(uptime_ms: u64) -> String {
    humantime::format_duration(std::time::Duration::from_secs(uptime_ms / 1000)).to_string()
}

/// Returns all halted replicas: node, shard, reason.
fn halted(statuses: &[NodeStatus]) -> Vec<(u64, u32, &v1::Halt)> {
    let mut halted = Vec::new();
    for (node, status) in statuses {
        let replicas = status.iter().flat_map(|status| &status.replicas);
        halted.extend(
            replicas.filter_map(|replica| Some((node.node_id, replica.shard, replica.halt.as_ref()?))),
        );
    }
    halted
}

/// Time in milliseconds after which a required consumer that has not passed a change is worth a warning.
const BEHIND_MS: u64 = 15 * 60 * 1_000;

/// Returns the required consumers that are far behind, with their shard, as the leaders see them.
fn held_back<'a>(
    topology: &v1::GetTopologyResponse,
    statuses: &'a [NodeStatus],
) -> Vec<(u32, &'a v1::ConsumerLag)> {
    let mut held_back = Vec::new();
    for (node, status) in statuses {
        let leads = |shard: u32| {
            let found = topology.shards.iter().find(|known| known.shard == shard);
            found.is_some_and(|known| known.leader_node_id == node.node_id)
        };
        let replicas = status.iter().flat_map(|status| &status.replicas);
        for replica in replicas.filter(|replica| leads(replica.shard)) {
            let late = replica.consumers.iter();
            let late = late.filter(|consumer| consumer.required && consumer.lag_ms > BEHIND_MS);
            held_back.extend(late.map(|consumer| (replica.shard, consumer)));
        }
    }
    held_back
}

/// Returns the disks that have little space: node, how much.
fn low_disks(statuses: &[NodeStatus]) -> Vec<(u64, &v1::DiskSpace)> {
    let disks = statuses
        .iter()
        .filter_map(|(node, status)| Some((node.node_id, status.as_ref().ok()?.disk.as_ref()?)));
    disks.filter(|(_, disk)| disk.state != "enough").collect()
}

fn shard_row(shard: &v1::Shard, statuses: &[NodeStatus]) -> Vec<String> {
    let replicas: Vec<(u64, &v1::ReplicaStatus)> = statuses
        .iter()
        .filter_map(|(node, status)| Some((node.node_id, status.as_ref().ok()?)))
        .filter_map(|(node_id, status)| {
            Some((node_id, status.replicas.iter().find(|r| r.shard == shard.shard)?))
        })
        .collect();
    let leader = replicas
        .iter()
        .find(|(node_id, _)| *node_id == shard.leader_node_id)
        .map(|(_, replica)| *replica);
    let or_dash = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let behind: Vec<String> = replicas
        .iter()
        .filter_map(|(node_id, replica)| {
            let entries = leader?.committed_index.saturating_sub(replica.applied_index);
            (entries > 0).then(|| format!("node {node_id}: {entries}"))
        })
        .collect();
    vec![
        shard.shard.to_string(),
        if shard.leader_node_id == 0 {
            "none".to_owned()
        } else {
            format!("node {}", shard.leader_node_id)
        },
        or_dash(leader.map(|replica| replica.term)),
        or_dash(leader.map(|replica| replica.committed_index)),
        or_dash(leader.map(|replica| replica.change_seq)),
        or_dash(leader.map(|replica| u64::from(replica.rules.max(1)))),
        or_dash(leader.map(|replica| replica.cells)),
        or_dash(leader.map(|replica| replica.live_reservations)),
        if behind.is_empty() {
            "-".to_owned()
        } else {
            behind.join(", ")
        },
        format!("{}..={}", shard.first_slot, shard.last_slot),
    ]
}

fn status_json(topology: &v1::GetTopologyResponse, statuses: &[NodeStatus]) -> Value {
    let nodes: Vec<Value> = statuses
        .iter()
        .map(|(node, status)| {
            json!({
                "node_id": node.node_id,
                "client_address": node.client_address,
                "admin_address": node.admin_address,
                "reachable": node.reachable,
                "status": status.as_ref().ok().map(node_status_json),
                "error": status.as_ref().err().map(ToString::to_string),
            })
        })
        .collect();
    let shards: Vec<Value> = topology
        .shards
        .iter()
        .map(|shard| {
            json!({
                "shard": shard.shard,
                "leader_node_id": shard.leader_node_id,
                "voters": shard.voters,
                "first_slot": shard.first_slot,
                "last_slot": shard.last_slot,
            })
        })
        .collect();
    json!({
        "cluster_id": render::id(&topology.cluster_id),
        "node_id": topology.node_id,
        "slots": topology.slots,
        "nodes": nodes,
        "shards": shards,
    })
}

fn consumer_json(consumer: &v1::ConsumerLag) -> Value {
    json!({
        "name": consumer.name,
        "required": consumer.required,
        "lag_changes": consumer.lag_changes,
        "lag_ms": consumer.lag_ms,
        "advanced_ago_ms": consumer.advanced_ago_ms,
    })
}

fn node_status_json(status: &v1::GetNodeStatusResponse) -> Value {
    let replicas: Vec<Value> = status
        .replicas
        .iter()
        .map(|replica| {
            json!({
                "shard": replica.shard,
                "role": replica.role,
                "term": replica.term,
                "last_log_index": replica.last_log_index,
                "committed_index": replica.committed_index,
                "applied_index": replica.applied_index,
                "snapshot_index": replica.snapshot_index,
                "change_seq": replica.change_seq,
                "cells": replica.cells,
                "live_reservations": replica.live_reservations,
                "log_time_ms": replica.log_time_ms,
                "rules": replica.rules.max(1),
                "first_change_seq": replica.first_change_seq,
                "consumers": replica.consumers.iter().map(consumer_json).collect::<Vec<_>>(),
                "halt": replica.halt.as_ref().map(deciding::halt_json),
            })
        })
        .collect();
    json!({
        "version": status.version,
        "uptime_ms": status.uptime_ms,
        "wall_clock_ms": status.wall_clock_ms,
        "newest_rules": status.newest_rules.max(1),
        "disk": status.disk.as_ref().map(|disk| json!({
            "available_bytes": disk.available_bytes,
            "low_below_bytes": disk.low_below_bytes,
            "ballast_bytes": disk.ballast_bytes,
            "state": disk.state,
        })),
        "replicas": replicas,
    })
}
