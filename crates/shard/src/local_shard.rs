//! Place of a node in a shard: its own replica, while it has one, and its knowledge of the replicas
//! elsewhere.

use std::sync::Arc;

use tokio::sync::watch;

use crate::replica::{Replica, Stopper};
use crate::route::RemoteReplicas;

/// A node's place in a shard.
pub(crate) struct LocalShard {
    pub(crate) node_id: u64,
    pub(crate) elsewhere: RemoteReplicas,
    /// This node's replica, while it has one.
    pub(crate) seat: watch::Sender<Option<Seat>>,
}

/// A running replica.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) replica: Arc<Replica>,
    pub(crate) stopper: Arc<Stopper>,
}

impl LocalShard {
    pub(crate) fn seat(&self) -> Option<Seat> {
        self.seat.borrow().clone()
    }

    /// Returns whether the replica here has ended, or another one has come.
    pub(crate) fn has_changed(&self, seat: Option<&Seat>) -> bool {
        match (self.seat.borrow().as_ref(), seat) {
            (None, None) => false,
            (Some(now), Some(then)) => !Arc::ptr_eq(&now.replica, &then.replica),
            _ => true,
        }
    }
}
