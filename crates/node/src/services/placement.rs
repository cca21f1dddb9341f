//! Changes of members and replicas that operators may make. Each is checked against a plan before the
//! directory is asked.

use std::collections::BTreeSet;

use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_api::v1::{Reason, Refusal};
use tokio::time::Instant;

use crate::directory::members::{Directory, DirectoryCommand};
use crate::directory::plan::{self, Move};
use crate::directory::{AskError, Membership};
use crate::peers::Peers;
use crate::reasoned;

/// The change that an operator wants.
pub(super) struct Wanted {
    pub(super) dry_run: bool,
    /// The nodes that the change is about.
    pub(super) node_ids: Vec<u64>,
    commands: Vec<DirectoryCommand>,
    /// The moves of replicas that would follow.
    moves: Vec<Move>,
}

/// Refuses a request on a node that waits to become a member. Such a node knows nothing of the cluster, so
/// another node has to be asked.
pub(super) fn ensure_part(membership: &Membership) -> Result<(), Refusal> {
    match membership.register() {
        Some(_) => Ok(()),
        None => Err(refusal(AskError::NoPart, false)),
    }
}

/// Describes the members, waiting nodes and replicas, as this node knows them.
pub(super) fn describe(membership: &Membership, peers: &Peers) -> v1::GetPlacementResponse {
    let directory = membership.view();
    let replicas = |node: u64| {
        let placements = directory.placements.iter();
        placements
            .filter(|placement| placement.nodes().contains(&node))
            .count() as u32
    };
    let members = directory.members.iter().map(|(node_id, member)| v1::Member {
        node_id: *node_id,
        client_address: member.address.client_address.clone(),
        peer_address: member.address.peer_address.clone(),
        zone: member.address.zone.clone(),
        draining: member.draining,
        reachable: peers.is_reachable(*node_id),
        replicas: replicas(*node_id),
    });
    let waiting = membership.waiting().into_iter().map(|newcomer| v1::WaitingNode {
        node_id: newcomer.node_id,
        replaces_a_disk: directory.members.contains_key(&newcomer.node_id),
        peer_address: newcomer.address.peer_address,
        zone: newcomer.address.zone,
    });
    let shards = (0..).zip(&directory.placements).map(|(shard, placement)| {
        let former: BTreeSet<u64> = placement.former.iter().map(|id| id.node()).collect();
        v1::ShardPlacement {
            shard,
            node_ids: placement.nodes().into_iter().collect(),
            former_node_ids: former.into_iter().collect(),
        }
    });
    let leader = membership.register().and_then(|register| register.leader());
    v1::GetPlacementResponse {
        replication_factor: directory.replication_factor,
        members: members.collect(),
        waiting: waiting.collect(),
        shards: shards.collect(),
        balancing: directory.balancing,
        version: directory.version,
        directory_leader_node_id: leader.unwrap_or(0),
    }
}

/// Plans the admission of a waiting node.
pub(super) fn add(membership: &Membership, request: v1::AddNodeRequest) -> Result<Wanted, Refusal> {
    let node_id = request.node_id;
    let mut commands = Vec::new();
    let mut live = membership.live();
    if !membership.view().members.contains_key(&node_id) {
        let waiting = membership.waiting();
        let newcomer = waiting.iter().find(|newcomer| newcomer.node_id == node_id);
        let newcomer = newcomer.cloned().ok_or_else(|| {
            let others: Vec<u64> = waiting.iter().map(|newcomer| newcomer.node_id).collect();
            reasons::invalid(format!(
                "node_id: node {node_id} has not introduced itself (waiting: {others:?}): start it with the nodes of this cluster in its peers"
            ))
        })?;
        commands.push(DirectoryCommand::Admit(newcomer));
        live.insert(node_id);
    }
    if !request.without_rebalance {
        commands.push(DirectoryCommand::SetBalancing(true));
    }
    let after = after(membership, &commands)?;
    let (moves, _) = plan::all_moves(&after, &live);
    Ok(Wanted {
        dry_run: request.dry_run,
        node_ids: vec![node_id],
        commands,
        moves,
    })
}

/// Plans the removal of all replicas from nodes.
pub(super) fn drain(membership: &Membership, request: v1::DrainNodeRequest) -> Result<Wanted, Refusal> {
    if request.node_ids.is_empty() {
        return Err(reasons::invalid("node_ids: has 0 entries"));
    }
    let commands: Vec<DirectoryCommand> = request
        .node_ids
        .iter()
        .map(|node_id| DirectoryCommand::SetDraining {
            node_id: *node_id,
            draining: !request.undo,
        })
        .collect();
    let after = after(membership, &commands)?;
    let (moves, at_the_end) = plan::all_moves(&after, &membership.live());
    let stuck = plan::stuck(&at_the_end, &request.node_ids);
    // A drain that was decided goes on. A repeat of its request is no new decision, so it is not refused when
    // a node has gone down since.
    let decided = after.version == membership.view().version;
    if let Some((shard, node)) = stuck.filter(|_| !request.undo && !decided) {
        return Err(reasons::invalid(format!(
            "node_ids: without node {node} shard {shard} has no node for its {} replicas: add a node first, or bring back one that is down",
            at_the_end.replication_factor
        )));
    }
    Ok(Wanted {
        dry_run: request.dry_run,
        node_ids: request.node_ids,
        commands,
        moves,
    })
}

/// Plans the removal of a node without replicas.
pub(super) fn remove(membership: &Membership, request: v1::RemoveNodeRequest) -> Result<Wanted, Refusal> {
    let node_id = request.node_id;
    let commands = vec![DirectoryCommand::Remove { node_id }];
    after(membership, &commands)?;
    Ok(Wanted {
        dry_run: request.dry_run,
        node_ids: vec![node_id],
        commands,
        moves: Vec::new(),
    })
}

/// Plans an even spread of the replicas.
pub(super) fn rebalance(membership: &Membership, request: v1::RebalanceRequest) -> Result<Wanted, Refusal> {
    let commands = vec![DirectoryCommand::SetBalancing(true)];
    let after = after(membership, &commands)?;
    let (moves, _) = plan::all_moves(&after, &membership.live());
    Ok(Wanted {
        dry_run: request.dry_run,
        node_ids: Vec::new(),
        commands,
        moves,
    })
}

/// Returns the directory as it would be after these commands.
fn after(membership: &Membership, commands: &[DirectoryCommand]) -> Result<Directory, Refusal> {
    let mut directory = Directory::clone(&membership.view());
    for command in commands {
        directory.execute(command.clone()).map_err(reasons::invalid)?;
    }
    Ok(directory)
}

/// Sends the commands to the directory, unless this is a dry run. Returns the planned moves.
pub(super) async fn carry_out(
    membership: &Membership,
    wanted: Wanted,
    deadline: Instant,
) -> Result<v1::PlacementChange, Refusal> {
    let mut changed = false;
    if !wanted.dry_run {
        for command in &wanted.commands {
            let asked = membership.ask(command, deadline).await;
            changed |= asked.map_err(|error| refusal(error, changed))?;
        }
    }
    let moves = wanted.moves.into_iter().map(|planned| v1::PlannedMove {
        shard: planned.shard,
        from_node_id: planned.from.unwrap_or(0),
        to_node_id: planned.to.unwrap_or(0),
        reason: planned.why.to_string(),
    });
    Ok(v1::PlacementChange {
        changed,
        moves: moves.collect(),
    })
}

/// Returns the refusal for a command that the directory did not take. If it took an earlier command of the
/// request, the request has had an effect.
fn refusal(error: AskError, some_done: bool) -> Refusal {
    match error {
        AskError::NoPart | AskError::Unanswered(_) if some_done => {
            let message = format!("some of the request was done before this error: {error}");
            reasons::refusal(Reason::OutcomeUnknown, message)
        }
        error => reasoned::told(&error),
    }
}
