//! What leaders do: the directory's plans moves, a shard's makes them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use holdfast_shard::{DocumentHandle, MembershipError, ReplicaId, ShardHandle, Step, Target};
use tokio::time::Instant;

use super::state::{Directory, DirectoryCommand};
use super::{AskError, Membership, plan};

/// How often a leader looks.
const TICK: Duration = Duration::from_millis(200);

/// At most so many shards are on their way to other nodes at a time: each sends a snapshot and its history.
const MOVES_AT_A_TIME: usize = 2;

/// How long the directory may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Spreading replicas does not end before this while a member is not heard: one that was just let in is not connected yet.
const ABSENCE_PATIENCE: Duration = Duration::from_secs(10);

/// Does what this node's leaders have to, until it is dropped.
pub(crate) async fn lead(membership: Arc<Membership>) {
    let mut even_since = None;
    loop {
        tokio::time::sleep(TICK).await;
        let Some(document) = membership.document() else {
            continue;
        };
        let shards = membership
            .shards()
            .iter()
            .map(|shard| lead_shard(&membership, shard));
        futures::future::join_all(shards).await;
        if document.leads() {
            lead_directory(&membership, &document, &mut even_since).await;
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

/// Brings the replicas of a shard that this node leads to where they belong.
async fn lead_shard(membership: &Membership, shard: &ShardHandle) {
    let directory = membership.view();
    let Some(placement) = directory.placements.get(shard.shard() as usize) else {
        return;
    };
    if shard.replica_id().is_none() && shard.leader().is_none() {
        shard.look_for_leader().await;
    }
    if placement.is_settled() || !shard.leads() {
        return;
    }
    let target = Target {
        voters: placement.replicas.clone(),
        learners: BTreeSet::new(),
    };
    match shard.step_towards(&target).await {
        Ok(Step::Settled) => {
            tracing::info!(shard = shard.shard(), replicas = ?placement.replicas, "the shard has its replicas");
            let command = DirectoryCommand::Settled {
                shard: shard.shard(),
                replicas: placement.replicas.clone(),
            };
            report(
                "settled",
                membership.ask(&command, Instant::now() + PATIENCE).await,
            );
        }
        Ok(step) => tracing::debug!(shard = shard.shard(), ?step, "on the way to other replicas"),
        Err(MembershipError::NotLeader) => {}
        Err(error) => tracing::warn!(shard = shard.shard(), %error, "the shard's replicas did not change"),
    }
}

/// Plans, and keeps the directory's own replicas. `even_since`: nothing was to be moved from then on.
async fn lead_directory(
    membership: &Membership,
    document: &DocumentHandle<Directory>,
    even_since: &mut Option<Instant>,
) {
    let deadline = Instant::now() + PATIENCE;
    let directory = Arc::clone(&document.view().borrow());
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
    match document.step_towards(&own_replicas(&directory, document)).await {
        Ok(_) | Err(MembershipError::NotLeader) => {}
        Err(error) => tracing::warn!(%error, "the directory's replicas did not change"),
    }
    for newcomer in membership.waiting() {
        let came_back = directory.members.contains_key(&newcomer.node_id);
        if came_back {
            tracing::warn!(
                node_id = newcomer.node_id,
                "a node came back with another disk: it gets new replicas"
            );
            let command = DirectoryCommand::ReplaceDisk {
                node_id: newcomer.node_id,
                disk_id: newcomer.disk_id,
            };
            report("replace disk", membership.ask(&command, deadline).await);
        }
    }
    let on_their_way = directory
        .placements
        .iter()
        .filter(|placement| !placement.is_settled());
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
    let settled = directory
        .placements
        .iter()
        .all(|placement| placement.is_settled());
    if !directory.balancing || !settled {
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

/// The replicas that the directory itself should have: some members vote, the others follow.
fn own_replicas(directory: &Directory, document: &DocumentHandle<Directory>) -> Target {
    let now: BTreeSet<u64> = document.voters().into_iter().collect();
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
