//! Handing leadership over.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;

use crate::TransferError;
use crate::raft_types::Types;
use crate::replica::Replica;
use crate::replica_id::node_of;

pub(crate) async fn transfer(replica: &Replica, to: Option<u64>) -> Result<u64, TransferError> {
    if replica.is_stopped() {
        return Err(TransferError::Stopped);
    }
    let own_id = replica.options.raft_id();
    let to = match to {
        _ if !replica.leads() => {
            return Err(TransferError::NotLeader {
                leader: replica.leader.borrow().map(node_of),
            });
        }
        Some(to) => voter_on(replica, to).ok_or(TransferError::NotAVoter(to))?,
        None => closest(replica).ok_or(TransferError::NobodyElse)?,
    };
    if to == own_id {
        return Ok(node_of(own_id));
    }
    replica
        .raft
        .trigger()
        .transfer_leader(to)
        .await
        .map_err(|_| TransferError::Stopped)?;
    let patience = Duration::from_millis(replica.options.election_timeout_max_ms * 2);
    let mut leader = replica.leader.clone();
    let taken = leader.wait_for(|leader| leader.is_some_and(|leader| leader != own_id));
    match tokio::time::timeout(patience, taken).await {
        Ok(Ok(leader)) => leader.map(node_of).ok_or(TransferError::NotTaken(node_of(to))),
        Ok(Err(_)) => Err(TransferError::Stopped),
        Err(_) => Err(TransferError::NotTaken(node_of(to))),
    }
}

pub(crate) type RaftMetrics = openraft::RaftMetrics<Types>;

/// A follower lacks no more of the log than this when it is near, in entries.
const NEAR_ENTRIES: u64 = 256;

/// The voter that lives on a node.
fn voter_on(replica: &Replica, node: u64) -> Option<u64> {
    let mut voters = replica.raft.voter_ids();
    voters.find(|voter| node_of(*voter) == node)
}

pub(crate) fn is_near(replica: &Replica, node: u64) -> bool {
    let lately = Duration::from_millis(replica.options.election_timeout_max_ms);
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    voter_on(replica, node).is_some_and(|voter| has_nearly_all(&metrics, voter, lately))
}

/// Was this other replica heard lately, and does it lack little of the leader's log?
pub(crate) fn has_nearly_all(metrics: &RaftMetrics, replica: u64, lately: Duration) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| *all.get(&replica)?);
    let lacks = |matched: u64| metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
    was_heard(metrics, replica, lately) && matched.is_some_and(|matched| lacks(matched.index) <= NEAR_ENTRIES)
}

/// The follower with a vote whose log has most of ours, among those heard from lately.
fn closest(replica: &Replica) -> Option<u64> {
    let lately = Duration::from_millis(replica.options.election_timeout_max_ms);
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    let followers = metrics.replication.as_ref()?.iter();
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    let followers = followers.filter(|(id, _)| voters.contains(id) && was_heard(&metrics, **id, lately));
    followers
        .max_by_key(|(_, matched)| **matched)
        .map(|(node, _)| *node)
}

/// Is this another replica that answered lately?
fn was_heard(metrics: &RaftMetrics, replica: u64, lately: Duration) -> bool {
    let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&replica)?);
    replica != metrics.id && heard.is_some_and(|at| at.elapsed() < lately)
}
