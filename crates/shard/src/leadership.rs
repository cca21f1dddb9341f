//! Handover of leadership to another replica.

use std::sync::Arc;
use std::time::Duration;

use openraft::Instant as _;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::watch;

use crate::halt::Halt;
use crate::raft_types::Types;
use crate::state_machine::Raft;

pub(crate) type RaftMetrics = openraft::RaftMetrics<Types>;

/// Most entries that a near follower may lack.
const NEAR_ENTRIES: u64 = 256;

/// Returns whether another replica was heard lately and lacks little of the leader's log.
pub(crate) fn has_nearly_all(metrics: &RaftMetrics, replica: u64, lately: Duration) -> bool {
    let matched = metrics.replication.as_ref().and_then(|all| *all.get(&replica)?);
    let lacks = |matched: u64| metrics.last_log_index.unwrap_or(0).saturating_sub(matched);
    was_heard(metrics, replica, lately) && matched.is_some_and(|matched| lacks(matched.index) <= NEAR_ENTRIES)
}

/// Longest pause between two handovers by a replica that stays halted.
const MAX_HALTED_PAUSE: Duration = Duration::from_secs(600);

/// Hands leadership over whenever a halted replica has it, because another one may be able to apply the
/// entry. Where none can, the pauses double, so that leadership rests long enough for an operator to have the
/// entry decided.
pub(crate) async fn leave_while_halted(
    raft: Raft,
    raft_id: u64,
    mut leader: watch::Receiver<Option<u64>>,
    mut halted: watch::Receiver<Option<Arc<Halt>>>,
    lately: Duration,
) {
    while halted.wait_for(Option::is_some).await.is_ok() {
        let mut pause = lately * 4;
        while halted.borrow().is_some() {
            if leader.wait_for(|leader| *leader == Some(raft_id)).await.is_err() {
                return;
            }
            // The replica resumed while another one led.
            if halted.borrow().is_none() {
                break;
            }
            if let Some(to) = closest(&raft, lately)
                && raft.trigger().transfer_leader(to).await.is_err()
            {
                return;
            }
            // Once resumed, the replica may lead.
            let resumed = halted.wait_for(Option::is_none);
            if matches!(tokio::time::timeout(pause, resumed).await, Ok(Err(_))) {
                return;
            }
            pause = (pause * 2).min(MAX_HALTED_PAUSE);
        }
    }
}

/// Returns the follower with a vote whose log has most of ours, among those heard lately.
pub(crate) fn closest(raft: &Raft, lately: Duration) -> Option<u64> {
    let metrics = raft.metrics();
    let metrics = metrics.borrow_watched();
    let followers = metrics.replication.as_ref()?.iter();
    let voters: Vec<u64> = metrics.membership_config.voter_ids().collect();
    let followers = followers.filter(|(id, _)| voters.contains(id) && was_heard(&metrics, **id, lately));
    followers
        .max_by_key(|(_, matched)| **matched)
        .map(|(node, _)| *node)
}

/// Returns whether this is another replica that answered lately.
fn was_heard(metrics: &RaftMetrics, replica: u64, lately: Duration) -> bool {
    let heard = metrics.heartbeat.as_ref().and_then(|heard| *heard.get(&replica)?);
    replica != metrics.id && heard.is_some_and(|at| at.elapsed() < lately)
}
