//! The work of leaders: the directory's leader plans moves of replicas, and a shard's leader makes them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use holdfast_shard::{MembershipError, RegisterHandle, ReplicaId, ShardHandle, Step, Target};
use tokio::time::Instant;

use super::members::{Directory, DirectoryCommand, Newcomer};
use super::{AskError, Membership, founding, plan};

/// Pause between two rounds of a leader's work.
const TICK: Duration = Duration::from_millis(200);

/// Most shards that move to other nodes at a time. Each move sends a snapshot and the shard's history.
const MOVES_AT_A_TIME: usize = 2;

/// Longest time that the directory may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest time that a member that cannot be reached delays the end of balancing. A member that was just
/// admitted is not connected yet.
const ABSENCE_PATIENCE: Duration = Duration::from_secs(10);

/// Does the work of this node's leaders, until it is dropped.
pub(crate) async fn lead(membership: Arc<Membership>) {
    let mut even_since = None;
    let mut refused_disks = BTreeMap::new();
    loop {
        tokio::time::sleep(TICK).await;
        let Some(register) = membership.register() else {
            continue;
        };
        let shards = membership
            .shards()
            .iter()
            .map(|shard| lead_shard(&membership, shard));
        futures::future::join_all(shards).await;
        if register.leads() {
            replace_disks(&membership, &register, &mut refused_disks).await;
            lead_directory(&membership, &register, &mut even_since).await;
        }
    }
}

fn report(what: &str, asked: Result<bool, AskError>) {
    match asked {
        Ok(_) => {}
        Err(AskError::Refused(why)) => tracing::warn!(what, why, "the directory refused"),
        Err(error) => tracing::debug!(what, %error, "the directory did not answer"),
    }
}

/// Takes the next step towards the directory's placement of a shard, if this node leads the shard.
async fn lead_shard(membership: &Membership, shard: &ShardHandle) {
    let directory = membership.view();
    let Some(placement) = directory.placements.get(shard.shard() as usize) else {
        return;
    };
    if shard.replica_id().is_none() && shard.leader().is_none() {
        shard.look_for_leader().await;
    }
    if placement.is_complete() || !shard.leads() {
        return;
    }
    let target = Target {
        voters: placement.replicas.clone(),
        learners: BTreeSet::new(),
    };
    match shard.step_towards(&target).await {
        Ok(Step::Reached) => {
            tracing::info!(shard = shard.shard(), replicas = ?placement.replicas, "the shard has its replicas");
            let command = DirectoryCommand::Placed {
                shard: shard.shard(),
                replicas: placement.replicas.clone(),
            };
            report(
                "placed",
                membership.ask(&command, Instant::now() + PATIENCE).await,
            );
        }
        Ok(step) => tracing::debug!(
            shard = shard.shard(),
            ?step,
            "the shard is on the way to its new replicas"
        ),
        Err(MembershipError::NotLeader) => {}
        Err(error) => tracing::warn!(shard = shard.shard(), %error, "the shard's replicas did not change"),
    }
}

/// Gives new replicas to members that came back with another disk. `refused` has the members that got none,
/// and why, so that each reason is logged once.
async fn replace_disks(
    membership: &Membership,
    register: &RegisterHandle<Directory>,
    refused: &mut BTreeMap<u64, String>,
) {
    let directory = Arc::clone(&register.view().borrow());
    let waiting = membership.waiting();
    refused.retain(|node, _| waiting.iter().any(|newcomer| newcomer.node_id == *node));
    for newcomer in waiting {
        let node_id = newcomer.node_id;
        if !directory.members.contains_key(&node_id) {
            continue;
        }
        match may_replace_disk(membership, &directory, &newcomer).await {
            Ok(()) => {
                tracing::warn!(
                    node_id,
                    "a node came back with another disk, so it gets new replicas"
                );
                let command = DirectoryCommand::ReplaceDisk {
                    node_id,
                    disk_id: newcomer.disk_id,
                };
                let deadline = Instant::now() + PATIENCE;
                report("replace disk", membership.ask(&command, deadline).await);
            }
            Err(why) => {
                if refused.get(&node_id) != Some(&why) {
                    tracing::warn!(node_id, why, "a node with another disk gets no replicas");
                    refused.insert(node_id, why);
                }
            }
        }
    }
}

/// Checks that the replicas of a node may be given up for those of another disk: the earlier disk must be
/// gone, and the other nodes must be enough without it. Otherwise a new node that was started with a number
/// in use would end the node that has the number.
async fn may_replace_disk(
    membership: &Membership,
    directory: &Directory,
    newcomer: &Newcomer,
) -> Result<(), String> {
    let node_id = newcomer.node_id;
    can_do_without(directory, node_id, &membership.live())?;
    if let Some(address) = founding::other_disk_is_there(membership, newcomer).await {
        return Err(format!(
            "node {node_id} is running with its own disk at {address}: give the new node a number of its own"
        ));
    }
    Ok(())
}

/// Checks that every shard with a replica on this node has a majority without it.
fn can_do_without(directory: &Directory, node_id: u64, live: &BTreeSet<u64>) -> Result<(), String> {
    for (shard, placement) in directory.placements.iter().enumerate() {
        let nodes = placement.nodes();
        let others = nodes
            .iter()
            .filter(|node| **node != node_id && live.contains(node));
        if nodes.contains(&node_id) && others.count() <= nodes.len() / 2 {
            return Err(format!(
                "too few of the other replicas of shard {shard} are running to go on without node {node_id}: start those nodes first"
            ));
        }
    }
    Ok(())
}

/// Plans moves, and maintains the replicas of the directory itself. `even_since` is the time since which
/// nothing had to be moved.
async fn lead_directory(
    membership: &Membership,
    register: &RegisterHandle<Directory>,
    even_since: &mut Option<Instant>,
) {
    let deadline = Instant::now() + PATIENCE;
    let directory = Arc::clone(&register.view().borrow());
    if !directory.is_founded() {
        let genesis = membership
            .part
            .lock()
            .as_ref()
            .and_then(|part| part.genesis.clone());
        if let Some(genesis) = genesis {
            let command = DirectoryCommand::Found(genesis);
            report("found", membership.ask(&command, deadline).await);
        }
        return;
    }
    match register.step_towards(&own_replicas(&directory, register)).await {
        Ok(_) | Err(MembershipError::NotLeader) => {}
        Err(error) => tracing::warn!(%error, "the directory's replicas did not change"),
    }
    let on_their_way = directory
        .placements
        .iter()
        .filter(|placement| !placement.is_complete());
    if on_their_way.count() >= MOVES_AT_A_TIME {
        return;
    }
    let live = membership.live();
    if let Some(next) = plan::next_move(&directory, &live) {
        *even_since = None;
        tracing::info!(shard = next.shard, from = next.from, to = next.to, why = %next.why, "moving a replica");
        report("place", membership.ask(&next.command(&directory), deadline).await);
        return;
    }
    let complete = directory
        .placements
        .iter()
        .all(|placement| placement.is_complete());
    if !directory.balancing || !complete {
        *even_since = None;
        return;
    }
    let mut members = directory.members.iter();
    let everybody_is_heard = members.all(|(node, member)| member.draining || live.contains(node));
    let since = *even_since.get_or_insert_with(Instant::now);
    if everybody_is_heard || since.elapsed() >= ABSENCE_PATIENCE {
        *even_since = None;
        let command = DirectoryCommand::SetBalancing(false);
        report("balanced", membership.ask(&command, deadline).await);
    }
}

/// Returns the replicas that the directory itself should have: some members vote, the others follow.
fn own_replicas(directory: &Directory, register: &RegisterHandle<Directory>) -> Target {
    let now: BTreeSet<u64> = register.voters().into_iter().collect();
    let voters = plan::directory_voters(directory, &now);
    let replica = |node: &u64| {
        let generation = directory.members.get(node).map_or(0, |member| member.generation);
        ReplicaId {
            generation,
            ..ReplicaId::founder(*node)
        }
    };
    Target {
        learners: directory
            .members
            .keys()
            .filter(|node| !voters.contains(node))
            .map(replica)
            .collect(),
        voters: voters.iter().map(replica).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::members::{Genesis, NodeAddress};
    use super::*;

    #[test]
    fn a_node_is_done_without_only_while_a_majority_of_each_of_its_shards_is_there() {
        let founder = |node_id: u64| Newcomer {
            node_id,
            disk_id: [node_id as u8; 16],
            address: NodeAddress::default(),
        };
        let directory = Directory::founded(&Genesis {
            shard_count: 2,
            replication_factor: 3,
            founders: (1..=3).map(founder).collect(),
        });
        let live = |nodes: &[u64]| nodes.iter().copied().collect();
        assert_eq!(can_do_without(&directory, 3, &live(&[1, 2])), Ok(()));
        assert_eq!(can_do_without(&directory, 3, &live(&[1, 2, 3])), Ok(()));
        let why = can_do_without(&directory, 3, &live(&[1, 3])).unwrap_err();
        assert!(why.contains("shard 0"), "{why}");
        // No shard misses a node without replicas.
        assert_eq!(can_do_without(&directory, 9, &live(&[])), Ok(()));
    }
}
