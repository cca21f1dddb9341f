//! The handover of leadership to another replica.

use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver as _;

use super::Replica;
use crate::TransferError;
use crate::leadership::{closest, has_nearly_all};
use crate::replica_id::node_of;

impl Replica {
    /// Hands leadership of the shard to a node, or to the follower that lacks least. Returns the node that
    /// leads then.
    pub(crate) async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, TransferError> {
        if self.is_stopped() {
            return Err(TransferError::Stopped);
        }
        let own_id = self.options.raft_id();
        let to = match to {
            _ if !self.leads() => {
                return Err(TransferError::NotLeader {
                    leader: self.leader.borrow().map(node_of),
                });
            }
            Some(to) => self.voter_on(to).ok_or(TransferError::NotAVoter(to))?,
            None => {
                let lately = Duration::from_millis(self.options.election_timeout_max_ms);
                closest(&self.raft, lately).ok_or(TransferError::NobodyElse)?
            }
        };
        if to == own_id {
            return Ok(node_of(own_id));
        }
        self.raft
            .trigger()
            .transfer_leader(to)
            .await
            .map_err(|_| TransferError::Stopped)?;
        let patience = Duration::from_millis(self.options.election_timeout_max_ms * 2);
        let mut leader = self.leader.clone();
        let taken = leader.wait_for(|leader| leader.is_some_and(|leader| leader != own_id));
        match tokio::time::timeout(patience, taken).await {
            Ok(Ok(leader)) => leader.map(node_of).ok_or(TransferError::NotTaken(node_of(to))),
            Ok(Err(_)) => Err(TransferError::Stopped),
            Err(_) => Err(TransferError::NotTaken(node_of(to))),
        }
    }

    /// Returns whether the replica on a node was heard lately and lacks little of the leader's log.
    pub(crate) fn is_near(&self, node: u64) -> bool {
        let lately = Duration::from_millis(self.options.election_timeout_max_ms);
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow_watched();
        self.voter_on(node)
            .is_some_and(|voter| has_nearly_all(&metrics, voter, lately))
    }

    /// Returns the voter that lives on a node.
    fn voter_on(&self, node: u64) -> Option<u64> {
        let mut voters = self.raft.voter_ids();
        voters.find(|voter| node_of(*voter) == node)
    }
}
