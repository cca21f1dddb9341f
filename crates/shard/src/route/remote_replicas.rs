//! State of a shard of which this node has no replica: who has one, and who of them leads, as far as the
//! answers say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::forward::{ForwardReply, ForwardRequest};
use crate::metrics::Counters;
use crate::replica_id::node_of;
use crate::{PeerTransport, ReplicaId, codec};

/// Longest time for one attempt.
pub(super) const ATTEMPT: Duration = Duration::from_secs(1);

/// Knowledge about a shard that is elsewhere.
pub(crate) struct RemoteReplicas {
    pub(crate) shard: u32,
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) counters: Counters,
    holders: RwLock<Vec<ReplicaId>>,
    asked: AtomicUsize,
    leader: watch::Sender<Option<u64>>,
}

impl RemoteReplicas {
    pub(crate) fn new(shard: u32, transport: Arc<dyn PeerTransport>) -> Self {
        Self {
            shard,
            transport,
            counters: Counters::default(),
            holders: RwLock::default(),
            asked: AtomicUsize::new(0),
            leader: watch::Sender::new(None),
        }
    }

    /// Sets the replicas of the shard.
    pub(crate) fn set_holders(&self, holders: Vec<ReplicaId>) {
        *self.holders.write() = holders;
    }

    pub(crate) fn holders(&self) -> Vec<ReplicaId> {
        self.holders.read().clone()
    }

    /// Returns the Raft id of the leader, as the last answer gave it.
    pub(super) fn leader(&self) -> watch::Receiver<Option<u64>> {
        self.leader.subscribe()
    }

    pub(crate) fn known_leader(&self) -> Option<u64> {
        *self.leader.borrow()
    }

    /// Returns the replica whose turn it is.
    pub(crate) fn anyone(&self) -> Option<u64> {
        let holders = self.holders.read();
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        holders.get(turn % holders.len().max(1)).map(|id| id.raft())
    }

    /// Asks the replica whose turn it is who leads.
    pub(crate) async fn look_for_leader(&self) {
        let (Some(asked), Ok(payload)) = (self.anyone(), codec::encode(&ForwardRequest::WhoLeads)) else {
            return;
        };
        let answer = self
            .transport
            .forward(node_of(asked), self.shard, payload, ATTEMPT)
            .await;
        if let Ok(Ok(ForwardReply::NotLeader { leader })) = answer.map(|answer| codec::decode(&answer)) {
            self.learned(asked, leader);
        }
    }

    /// Records what one replica, when asked, said about who leads.
    pub(super) fn learned(&self, asked: u64, leader: Option<u64>) {
        self.leader.send_if_modified(|known| {
            // If another request learned something meanwhile, that is newer.
            let stale = known.is_none_or(|known| known == asked);
            let news = stale && *known != leader;
            if news {
                *known = leader;
            }
            news
        });
    }
}
