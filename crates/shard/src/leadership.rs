//! Handing leadership over.

use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;

use crate::TransferError;
use crate::raft_types::Types;
use crate::replica::Replica;

pub(crate) async fn transfer(replica: &Replica, to: Option<u64>) -> Result<u64, TransferError> {
    if replica.is_stopped() {
        return Err(TransferError::Stopped);
    }
    let own_id = replica.options.node_id;
    let to = match to {
        Some(to) if !replica.options.voters.contains(&to) => return Err(TransferError::NotAVoter(to)),
        _ if !replica.leads() => {
            return Err(TransferError::NotLeader {
                leader: *replica.leader.borrow(),
            });
        }
        Some(to) if to == own_id => return Ok(own_id),
        Some(to) => to,
        None => closest(replica).ok_or(TransferError::NobodyElse)?,
    };
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
        Ok(Ok(leader)) => leader.ok_or(TransferError::NotTaken(to)),
        Ok(Err(_)) => Err(TransferError::Stopped),
        Err(_) => Err(TransferError::NotTaken(to)),
    }
}

type RaftMetrics = openraft::RaftMetrics<Types>;

/// A follower lacks no more of the log than this when it is near, in entries.
const NEAR_ENTRIES: u64 = 256;

pub(crate) fn is_near(replica: &Replica, node: u64) -> bool {
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    let matched = metrics.replication.as_ref().and_then(|all| *all.get(&node)?);
    let lacks = |matched: u64| metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
    was_heard(replica, &metrics, node) && matched.is_some_and(|matched| lacks(matched.index) <= NEAR_ENTRIES)
}

/// The follower whose log has most of ours, among those heard from lately.
fn closest(replica: &Replica) -> Option<u64> {
    let metrics = replica.raft.metrics();
    let metrics = metrics.borrow_watched();
    let followers = metrics.replication.as_ref()?.iter();
    let followers = followers.filter(|(node, _)| was_heard(replica, &metrics, **node));
    followers
        .max_by_key(|(_, matched)| **matched)
        .map(|(node, _)| *node)
}

/// Is this another node that answered lately?
fn was_heard(replica: &Replica, metrics: &RaftMetrics, node: u64) -> bool {
    let lately = Duration::from_millis(replica.options.election_timeout_max_ms);
    let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&node)?);
    node != replica.options.node_id && heard.is_some_and(|at| at.elapsed() < lately)
}
