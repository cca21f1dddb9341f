//! The replicas of this node, started and ended as the directory says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures::future::join_all;
use holdfast_ledger::LedgerOptions;
use holdfast_shard::{Host, RegisterOptions, ReplicaId, ShardHandle, ShardOptions, start_register};

use super::members::{Directory, DirectoryCommand, Newcomer};
use super::{DIRECTORY, Membership, MembershipRecord, MembershipStartError, founding, peer_section, plan};
use crate::config::PeerSection;
use crate::stores::StoresError;

/// The directory's heartbeat interval and election timeouts are those of a shard times this factor. So a dead
/// leader of the directory is replaced later, but no checkout waits for it.
const DIRECTORY_PATIENCE: u64 = 3;

/// Number of entries after which a snapshot of the directory is built.
const DIRECTORY_SNAPSHOT_ENTRIES: u64 = 500;

/// Longest time that the directory may take to record this node's addresses.
const RELOCATE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// Interval at which a node asks whether it is still a member.
const MEMBERSHIP_PAUSE: std::time::Duration = std::time::Duration::from_secs(5);

/// Takes the part that this node's disk remembers, if any, with every replica that it had.
pub(crate) async fn take_part(membership: &Arc<Membership>) -> Result<(), MembershipStartError> {
    let Some(part) = membership.part.lock().clone() else {
        return Ok(());
    };
    finish_leaving(membership).await?;
    start_directory(membership, &part).await?;
    let founding = part.genesis.as_ref().map(Directory::founded);
    // At the same time, because each replica may have much to read.
    let seats = part.seats.iter().map(|(shard, generation)| async {
        match membership.shards.get(*shard as usize) {
            Some(handle) => take_seat(membership, handle, *generation, founding.as_ref()).await,
            None => Ok(()),
        }
    });
    join_all(seats).await.into_iter().collect::<Result<(), _>>()?;
    follow(membership);
    // The directory will tell whether this node is still a member.
    *membership.obstacle.lock() = None;
    Ok(())
}

/// Finds a part in the cluster if this node has none yet. From then on keeps its replicas as the directory
/// says.
pub(crate) async fn keep_seats(membership: Arc<Membership>) {
    if let Err(error) = keep(&membership).await {
        membership.must_stop(error.to_string());
    }
}

async fn keep(membership: &Arc<Membership>) -> Result<(), MembershipStartError> {
    if membership.register().is_none() {
        let part = founding::find_part(membership).await;
        *membership.part.lock() = Some(part.clone());
        membership.remember(|_| ())?;
        start_directory(membership, &part).await?;
    }
    let Some(register) = membership.register() else {
        return Ok(());
    };
    let mut views = register.view();
    loop {
        views.mark_unchanged();
        follow(membership);
        arrange(membership).await?;
        tokio::select! {
            changed = views.changed() => if changed.is_err() {
                return Ok(());
            },
            () = watch_membership(membership) => {}
            why = register.fatal() => {
                membership.must_stop(format!("the replica of the directory died: {why}"));
                return Ok(());
            }
        }
    }
}

/// Asks the other nodes at intervals whether this node is still a member. While they say that it is not, the
/// node is not ready. Never ends.
async fn watch_membership(membership: &Membership) {
    let mut was_out = false;
    loop {
        tokio::time::sleep(MEMBERSHIP_PAUSE).await;
        let is_out = founding::is_out(membership).await;
        if is_out {
            let obstacle = not_a_member(membership);
            tracing::warn!(obstacle, "the other nodes do not know this node");
            *membership.obstacle.lock() = Some(obstacle);
        } else if was_out {
            *membership.obstacle.lock() = None;
        }
        was_out = is_out;
    }
}

fn not_a_member(membership: &Membership) -> String {
    format!(
        "node {} is not a member of its cluster (any more): stop it, or empty its data folder to let it join again",
        membership.own.node_id
    )
}

/// Takes over the current directory, and the addresses of the nodes.
fn follow(membership: &Membership) {
    let Some(register) = membership.register() else {
        return;
    };
    let directory = Arc::clone(&register.view().borrow());
    let nodes = nodes(membership, &directory);
    if let Err(error) = membership.peers.set_nodes(&nodes) {
        tracing::error!(%error, "the new addresses of the nodes could not be used, so the old ones stay in use");
    }
    *membership.nodes.write() = nodes.into();
    membership.view.send_replace(directory);
}

/// Returns the members with their addresses. The configuration's address counts for a member that it lists,
/// because it is the operator's last word.
fn nodes(membership: &Membership, directory: &Directory) -> Vec<PeerSection> {
    let configured = |node_id: u64| {
        let mut nodes = membership.configured.iter();
        nodes.find(|node| node.node_id == node_id).cloned()
    };
    if !directory.is_founded() {
        let mut nodes = membership.configured.clone();
        let genesis = membership
            .part
            .lock()
            .as_ref()
            .and_then(|part| part.genesis.clone());
        for founder in genesis.into_iter().flat_map(|genesis| genesis.founders) {
            if configured(founder.node_id).is_none() {
                nodes.push(peer_section(founder.node_id, &founder.address));
            }
        }
        return nodes;
    }
    directory
        .members
        .iter()
        .map(|(node_id, member)| {
            configured(*node_id).unwrap_or_else(|| peer_section(*node_id, &member.address))
        })
        .collect()
}

async fn start_directory(
    membership: &Membership,
    part: &MembershipRecord,
) -> Result<(), MembershipStartError> {
    let replica = ReplicaId {
        generation: part.generation,
        ..ReplicaId::founder(membership.identity.node_id)
    };
    let founders = match &part.genesis {
        Some(genesis) if part.generation == 0 => {
            plan::directory_voters(&Directory::founded(genesis), &BTreeSet::new())
        }
        _ => BTreeSet::new(),
    };
    let raft = &membership.config.raft;
    let options = RegisterOptions {
        address: DIRECTORY,
        replica,
        // A founder without a vote founds nothing: the voters add it to the group.
        founders: if founders.contains(&membership.identity.node_id) {
            founders
        } else {
            BTreeSet::new()
        },
        heartbeat_ms: raft.heartbeat.as_millis() * DIRECTORY_PATIENCE,
        election_timeout_ms: (
            raft.election_timeout_min.as_millis() * DIRECTORY_PATIENCE,
            raft.election_timeout_max.as_millis() * DIRECTORY_PATIENCE,
        ),
        snapshot_every_entries: DIRECTORY_SNAPSHOT_ENTRIES,
    };
    let stores = membership.stores.directory(part.generation)?;
    let transport = Arc::clone(&membership.transport);
    let register = start_register(membership.threads, options, stores, transport).await?;
    *membership.register.write() = Some(register);
    Ok(())
}

/// The standing of this node in a directory.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The directory is from before this node came, or from before what this node has done already. The node
    /// reads it again while it catches up. It says nothing about the present.
    OfThePast,
    /// This node is not in the directory.
    Stranger,
    /// This node was in the directory and is not any more.
    Removed,
    /// Another disk has taken over as this node.
    Replaced,
    /// This node is in the directory, perhaps with addresses that changed since.
    Member { elsewhere: bool },
}

fn standing(
    directory: &Directory,
    own: &Newcomer,
    part: Option<&MembershipRecord>,
    was_member: bool,
) -> Standing {
    if part.is_some_and(|part| directory.version < part.seats_version) {
        return Standing::OfThePast;
    }
    let Some(member) = directory.members.get(&own.node_id) else {
        return match (was_member, directory.is_founded()) {
            (true, _) => Standing::Removed,
            (false, true) => Standing::Stranger,
            (false, false) => Standing::OfThePast,
        };
    };
    if part.is_some_and(|part| member.generation < part.generation) {
        return Standing::OfThePast;
    }
    if member.disk_id != own.disk_id {
        return Standing::Replaced;
    }
    Standing::Member {
        // Founders compute the first version before they have heard the others' addresses.
        elsewhere: directory.version > 1 && member.address != own.address,
    }
}

/// Starts and ends replicas until this node has those that the directory gives it.
async fn arrange(membership: &Arc<Membership>) -> Result<(), MembershipStartError> {
    let directory = membership.view();
    let own = &membership.own;
    let founding = membership
        .part
        .lock()
        .as_ref()
        .and_then(|part| part.genesis.as_ref().map(Directory::founded))
        .map(Arc::new);
    // Founders begin with the placements that they all compute, before the directory has them.
    let directory = match (&founding, directory.is_founded()) {
        (Some(founding), false) => Arc::clone(founding),
        _ => directory,
    };
    let standing = {
        let part = membership.part.lock();
        let was_member = membership.was_member.load(Ordering::Relaxed);
        standing(&directory, own, part.as_ref(), was_member)
    };
    match standing {
        Standing::OfThePast => return Ok(()),
        Standing::Stranger => {
            *membership.obstacle.lock() = Some(not_a_member(membership));
            return Ok(());
        }
        Standing::Removed => {
            membership.must_stop(format!("node {} was removed from its cluster", own.node_id));
            return Ok(());
        }
        Standing::Replaced => {
            membership.must_stop(format!(
                "another disk has taken over as node {}: this one must not go on; empty its data folder or remove it",
                own.node_id
            ));
            return Ok(());
        }
        Standing::Member { elsewhere } => {
            membership.was_member.store(true, Ordering::Relaxed);
            if elsewhere {
                relocate(membership);
            }
        }
    }
    let arranged = membership.shards.iter().map(|handle| {
        let placement = directory.placements.get(handle.shard() as usize);
        let wanted = directory.runs(handle.shard(), own.node_id);
        let holders: Vec<ReplicaId> = placement
            .map(|placement| placement.replicas.union(&placement.former).copied().collect())
            .unwrap_or_default();
        handle.set_holders(holders);
        let (founding, version) = (founding.as_deref(), directory.version);
        async move {
            let here = handle.replica_id();
            if here == wanted {
                return Ok(());
            }
            if let Some(here) = here {
                leave_seat(membership, handle, here, version).await?;
            }
            match wanted {
                Some(wanted) => {
                    membership.remember(|part| {
                        part.seats.insert(handle.shard(), wanted.generation);
                        part.seats_version = version;
                    })?;
                    take_seat(membership, handle, wanted.generation, founding).await
                }
                None => Ok(()),
            }
        }
    });
    let arranged: Result<(), _> = join_all(arranged).await.into_iter().collect();
    arranged?;
    *membership.obstacle.lock() = None;
    Ok(())
}

/// Reports this node's current addresses to the directory.
fn relocate(membership: &Arc<Membership>) {
    let asking = Arc::clone(membership);
    membership.spawn("relocation", async move {
        let command = DirectoryCommand::Relocate {
            node_id: asking.own.node_id,
            address: asking.own.address.clone(),
        };
        let deadline = tokio::time::Instant::now() + RELOCATE_PATIENCE;
        if let Err(error) = asking.ask(&command, deadline).await {
            tracing::info!(%error, "the directory does not know yet where this node is reached");
        }
    });
}

async fn leave_seat(
    membership: &Arc<Membership>,
    handle: &ShardHandle,
    here: ReplicaId,
    version: u64,
) -> Result<(), StoresError> {
    let shard = handle.shard();
    tracing::info!(shard, replica = %here, "this node's replica of the shard was moved to another node and is erased here");
    handle.leave_seat().await;
    membership.stores.note_leaving(shard, here.generation)?;
    // The seat is forgotten first: a half-erased replica must not be started again.
    membership.remember(|part| {
        part.seats.remove(&shard);
        part.seats_version = version;
    })?;
    finish_leaving(membership).await
}

/// Erases the replicas that have left, including those that a crash kept from being erased.
async fn finish_leaving(membership: &Arc<Membership>) -> Result<(), StoresError> {
    let erasing = Arc::clone(membership);
    let seats = membership.part.lock().as_ref().map(|part| part.seats.clone());
    let seats = seats.unwrap_or_default();
    let erase = move || {
        let has_seat = |shard: u32, generation: u32| seats.get(&shard) == Some(&generation);
        erasing.stores.finish_leaving(has_seat);
    };
    tokio::task::spawn_blocking(erase)
        .await
        .map_err(|error| StoresError::Defect(error.to_string()))
}

/// Starts this node's replica of a shard. `founding` is the directory that a founder begins with.
async fn take_seat(
    membership: &Arc<Membership>,
    handle: &ShardHandle,
    generation: u32,
    founding: Option<&Directory>,
) -> Result<(), MembershipStartError> {
    let shard = handle.shard();
    let first = founding.and_then(|founding| founding.placements.get(shard as usize));
    let founders = match (first, generation) {
        (Some(first), 0) => first.nodes(),
        _ => BTreeSet::new(),
    };
    let opening = Arc::clone(membership);
    let founding = founders.clone();
    let opened =
        tokio::task::spawn_blocking(move || opening.stores.shard(shard, generation, &founding)).await;
    let stores = opened.map_err(|error| MembershipStartError::Defect(error.to_string()))??;
    let host = Host {
        threads: membership.threads,
        ..Host::default()
    };
    let options = options(membership, shard, generation, founders);
    handle.take_seat(host, options, stores).await?;
    Ok(())
}

fn options(membership: &Membership, shard: u32, generation: u32, founders: BTreeSet<u64>) -> ShardOptions {
    let config = &membership.config;
    let (raft, ledger) = (&config.raft, &config.ledger);
    let ledger = LedgerOptions {
        operation_window_ms: ledger.operation_window.as_millis(),
        operation_lead_ms: ledger.operation_lead.as_millis(),
        closed_retention_ms: ledger.closed_retention.as_millis(),
        shipped_retention_ms: ledger.shipped_retention.as_millis(),
        order_decision_ms: ledger.order_decision.as_millis(),
    };
    ShardOptions {
        generation,
        heartbeat_ms: raft.heartbeat.as_millis(),
        election_timeout_min_ms: raft.election_timeout_min.as_millis(),
        election_timeout_max_ms: raft.election_timeout_max.as_millis(),
        max_entry_commands: raft.max_entry_commands,
        max_entry_bytes: raft.max_entry_size.in_memory(),
        max_entries_in_flight: raft.max_entries_in_flight,
        snapshot_every_entries: raft.snapshot_every_entries,
        queue_limit_commands: config.limits.queue_limit_commands,
        history_ms: config.storage.history.as_millis(),
        ..ShardOptions::new(shard, membership.identity.node_id, founders, ledger)
    }
}

#[cfg(test)]
mod tests;
