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
    pub(crate) running: watch::Sender<Option<RunningReplica>>,
}

/// A running replica.
#[derive(Clone)]
pub(crate) struct RunningReplica {
    pub(crate) replica: Arc<Replica>,
    pub(crate) stopper: Arc<Stopper>,
}

impl LocalShard {
    pub(crate) fn running(&self) -> Option<RunningReplica> {
        self.running.borrow().clone()
    }

    /// Returns whether the replica here has ended, or another one has come.
    pub(crate) fn has_changed(&self, running: Option<&RunningReplica>) -> bool {
        match (self.running.borrow().as_ref(), running) {
            (None, None) => false,
            (Some(now), Some(then)) => !Arc::ptr_eq(&now.replica, &then.replica),
            _ => true,
        }
    }
}
