//! Changes of members and replicas, and the waiting until they are done.

use std::time::Duration;

use anyhow::{Context as _, bail};
use holdfast_client::{AdminClient, ClientError, v1};
use serde_json::json;
use tokio::time::Instant;

use super::placement::leaving;
use super::{AddArgs, DrainArgs, How};
use crate::context::Context;

/// Time between two looks at how far the replicas are.
const LOOK: Duration = Duration::from_millis(300);

pub(super) async fn add(args: &AddArgs, admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let until = Instant::now() + args.how.timeout;
    let nodes = match args.up_to {
        Some(up_to) => (1..=up_to).collect(),
        None => args.nodes.clone(),
    };
    if args.up_to.is_some() && !args.how.dry_run {
        wait_for_introductions(&nodes, admin, context, until).await?;
    }
    let mut changes = Vec::new();
    for node_id in &nodes {
        let request = v1::AddNodeRequest {
            node_id: *node_id,
            without_rebalance: args.no_rebalance,
            dry_run: args.how.dry_run,
        };
        let patient = args.up_to.is_some() && !args.how.dry_run;
        let change = add_one(request, patient, admin, context, until).await;
        changes.push(change.with_context(|| format!("node {node_id} was not added"))?);
    }
    finish("add", &nodes, changes, args.how, admin, context, until).await
}

/// Adds a node. A patient caller asks again after a refusal, because any node may be asked, and it may know
/// less than the node that was asked before.
async fn add_one(
    request: v1::AddNodeRequest,
    patient: bool,
    admin: &AdminClient,
    context: &Context,
    until: Instant,
) -> Result<v1::PlacementChange, ClientError> {
    let mut told = String::new();
    loop {
        match admin.add_node(request).await {
            Err(error) if patient && Instant::now() < until => {
                let obstacle = format!("node {} is not added yet: {error}", request.node_id);
                if obstacle != told {
                    context.output.note(&obstacle);
                    told = obstacle;
                }
                tokio::time::sleep(LOOK).await;
            }
            done => return done,
        }
    }
}

/// Returns the placement, from a node that knows the cluster. A node that has just started reports no
/// members, which does not mean that there are none.
async fn known_placement(
    admin: &AdminClient,
    context: &Context,
    until: Instant,
) -> anyhow::Result<v1::GetPlacementResponse> {
    let mut told = false;
    loop {
        let placement = admin.get_placement(v1::GetPlacementRequest {}).await?;
        if is_known(&placement) {
            return Ok(placement);
        }
        if Instant::now() >= until {
            bail!("{UNKNOWN}");
        }
        if !told {
            context.output.note(UNKNOWN);
            told = true;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Message for a node that does not know yet who is a member.
const UNKNOWN: &str =
    "the node that was asked does not know its cluster yet: the cluster is not founded, or has no leader";

fn is_known(placement: &v1::GetPlacementResponse) -> bool {
    placement.version > 0 && placement.directory_leader_node_id != 0
}

/// Waits until each of these nodes is a member or waits to be one.
async fn wait_for_introductions(
    nodes: &[u64],
    admin: &AdminClient,
    context: &Context,
    until: Instant,
) -> anyhow::Result<()> {
    let mut told = Vec::new();
    loop {
        let missing: Vec<u64> = match admin.get_placement(v1::GetPlacementRequest {}).await {
            Ok(placement) => {
                let known = |node: &u64| {
                    placement.members.iter().any(|member| member.node_id == *node)
                        || placement.waiting.iter().any(|waiting| waiting.node_id == *node)
                };
                nodes.iter().copied().filter(|node| !known(node)).collect()
            }
            // The node that is asked may itself be starting.
            Err(error) if Instant::now() >= until => return Err(error.into()),
            Err(_) => nodes.to_vec(),
        };
        if missing.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            bail!(
                "nodes {missing:?} have not introduced themselves: start them with the nodes of this cluster in their peers"
            );
        }
        if missing != told {
            context
                .output
                .note(format!("waiting for nodes {missing:?} to introduce themselves"));
            told = missing;
        }
        tokio::time::sleep(LOOK).await;
    }
}

pub(super) async fn drain(args: &DrainArgs, admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let until = Instant::now() + args.how.timeout;
    let nodes = match args.above {
        None => args.nodes.clone(),
        Some(above) => {
            let placement = known_placement(admin, context, until).await?;
            let members = placement.members.iter().map(|member| member.node_id);
            members.filter(|node| *node > above).collect()
        }
    };
    if nodes.is_empty() {
        context.output.note("there is no node to drain");
        return Ok(());
    }
    let request = v1::DrainNodeRequest {
        node_ids: nodes.clone(),
        undo: args.undo,
        dry_run: args.how.dry_run,
    };
    let change = admin.drain_node(request).await?;
    finish("drain", &nodes, vec![change], args.how, admin, context, until).await?;
    if args.remove && !args.how.dry_run {
        remove(&nodes, false, admin, context).await?;
    }
    Ok(())
}

pub(super) async fn remove(
    nodes: &[u64],
    dry_run: bool,
    admin: &AdminClient,
    context: &Context,
) -> anyhow::Result<()> {
    for node_id in nodes {
        let request = v1::RemoveNodeRequest {
            node_id: *node_id,
            dry_run,
        };
        let change = admin.remove_node(request).await?;
        let said = match (dry_run, change.changed) {
            (true, _) => "could be removed",
            (false, true) => {
                "is not a member any more: stop it, and do not start it with its data folder again"
            }
            (false, false) => "was not a member",
        };
        context.output.note(format!("node {node_id} {said}"));
    }
    Ok(())
}

pub(super) async fn rebalance(how: How, admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let until = Instant::now() + how.timeout;
    let request = v1::RebalanceRequest { dry_run: how.dry_run };
    let change = admin.rebalance(request).await?;
    finish("rebalance", &[], vec![change], how, admin, context, until).await
}

/// Prints what will be moved, and waits until it has moved.
async fn finish(
    what: &str,
    nodes: &[u64],
    changes: Vec<v1::PlacementChange>,
    how: How,
    admin: &AdminClient,
    context: &Context,
    until: Instant,
) -> anyhow::Result<()> {
    let changed = changes.iter().any(|change| change.changed);
    // The last plan includes all plans before it, except in a dry run of several nodes.
    let moves = changes
        .into_iter()
        .next_back()
        .map(|change| change.moves)
        .unwrap_or_default();
    if context.json {
        let moves: Vec<_> = moves
            .iter()
            .map(|planned| {
                json!({
                    "shard": planned.shard,
                    "from_node_id": planned.from_node_id,
                    "to_node_id": planned.to_node_id,
                    "reason": planned.reason,
                })
            })
            .collect();
        context.output.json(&json!({
            "command": what, "nodes": nodes, "dry_run": how.dry_run, "changed": changed, "moves": moves,
        }))?;
    } else {
        let rows: Vec<Vec<String>> = moves
            .iter()
            .map(|planned| {
                let node = |id: u64| match id {
                    0 => "-".to_owned(),
                    id => id.to_string(),
                };
                vec![
                    planned.shard.to_string(),
                    node(planned.from_node_id),
                    node(planned.to_node_id),
                    planned.reason.clone(),
                ]
            })
            .collect();
        if rows.is_empty() {
            context.output.line("no replica has to move")?;
        } else {
            context.output.table(&["SHARD", "FROM", "TO", "WHY"], &rows)?;
        }
    }
    if how.dry_run {
        context.output.note("nothing was changed");
        return Ok(());
    }
    if how.no_wait {
        return Ok(());
    }
    wait_until_there(admin, context, until).await
}

/// Waits until every shard has its replicas and nothing more has to move.
async fn wait_until_there(admin: &AdminClient, context: &Context, until: Instant) -> anyhow::Result<()> {
    let mut told = String::new();
    // The next plan is made a moment after the one before is carried out, so rest must be seen three times in
    // a row.
    let mut still = 0;
    loop {
        let placement = admin.get_placement(v1::GetPlacementRequest {}).await;
        let progress = match &placement {
            Ok(placement) => progress(placement),
            Err(error) => Some(format!("no answer: {error}")),
        };
        still = if progress.is_none() { still + 1 } else { 0 };
        if still >= 3 {
            context.output.note("every replica is where it belongs");
            return Ok(());
        }
        if Instant::now() >= until {
            let progress = progress.unwrap_or_default();
            bail!(
                "not everything has moved yet ({progress}): the moves go on, and `holdfast cluster placement` shows them"
            );
        }
        if let Some(progress) = progress
            && progress != told
        {
            context.output.note(&progress);
            told = progress;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Describes what is still under way. Returns nothing when everything is in place.
fn progress(placement: &v1::GetPlacementResponse) -> Option<String> {
    if !is_known(placement) {
        return Some(UNKNOWN.to_owned());
    }
    let on_their_way: Vec<String> = placement
        .shards
        .iter()
        .filter(|shard| !shard.former_node_ids.is_empty())
        .map(|shard| {
            let comes: Vec<u64> = shard
                .node_ids
                .iter()
                .copied()
                .filter(|node| !shard.former_node_ids.contains(node))
                .collect();
            format!("shard {}: {:?} -> {comes:?}", shard.shard, leaving(shard))
        })
        .collect();
    if !on_their_way.is_empty() {
        return Some(on_their_way.join(", "));
    }
    let draining: u32 = placement
        .members
        .iter()
        .filter(|member| member.draining)
        .map(|member| member.replicas)
        .sum();
    if draining > 0 {
        return Some(format!("{draining} replicas are still on nodes that are drained"));
    }
    placement.balancing.then(|| "looking for more to move".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn placement() -> v1::GetPlacementResponse {
        v1::GetPlacementResponse {
            version: 7,
            directory_leader_node_id: 1,
            ..Default::default()
        }
    }

    #[test]
    fn a_node_that_does_not_know_its_cluster_has_not_arrived() {
        assert_eq!(progress(&placement()), None);
        let unknown = [
            v1::GetPlacementResponse::default(),
            v1::GetPlacementResponse {
                directory_leader_node_id: 0,
                ..placement()
            },
            v1::GetPlacementResponse {
                version: 0,
                ..placement()
            },
        ];
        for placement in unknown {
            assert_eq!(progress(&placement).as_deref(), Some(UNKNOWN));
        }
    }

    #[test]
    fn what_is_on_its_way_is_named_and_a_drained_node_with_replicas_is_not_done() {
        let mut now = placement();
        now.shards = vec![v1::ShardPlacement {
            shard: 5,
            node_ids: vec![1, 2, 4],
            former_node_ids: vec![1, 2, 3],
        }];
        assert_eq!(progress(&now).as_deref(), Some("shard 5: [3] -> [4]"));
        now.shards.clear();
        now.members = vec![v1::Member {
            node_id: 3,
            draining: true,
            replicas: 2,
            ..Default::default()
        }];
        assert!(progress(&now).is_some_and(|told| told.starts_with("2 replicas")));
        now.members[0].replicas = 0;
        assert_eq!(progress(&now), None);
        now.balancing = true;
        assert!(progress(&now).is_some());
    }
}
