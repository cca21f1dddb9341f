//! Identity of a replica: the node it lives on, and its generation among the replicas that lived there.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Bits of the node's id in the Raft id of a replica.
const NODE_BITS: u32 = 32;

/// Identity of one replica of a group. A node that lost its disk, or that gave a replica away and gets one
/// again, gets the new replica under another generation. For Raft that is a different replica. So a replica
/// that has forgotten its votes and its log can never speak for the one that gave them. (The idea is that of
/// the directory ids of Apache Kafka's KIP-853.)
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReplicaId {
    /// Id of the node, 1 to 2^32 - 1.
    pub node_id: u32,
    /// Generation on that node: 0 for the founders of a group, and otherwise never used twice in a cluster.
    pub generation: u32,
}

impl ReplicaId {
    /// Returns the id of a founder on this node.
    pub fn founder(node_id: u64) -> Self {
        Self::from_raft(node_id)
    }

    /// Returns the Raft id of this replica.
    pub(crate) fn raft(self) -> u64 {
        u64::from(self.generation) << NODE_BITS | u64::from(self.node_id)
    }

    /// Returns the replica with this Raft id.
    pub(crate) fn from_raft(id: u64) -> Self {
        Self {
            // The cast keeps only the lower half on purpose.
            node_id: id as u32,
            generation: (id >> NODE_BITS) as u32,
        }
    }

    /// Returns the node's id in the type that the API uses.
    pub fn node(self) -> u64 {
        u64::from(self.node_id)
    }
}

/// Returns the node of the replica with this Raft id.
pub(crate) fn node_of(raft_id: u64) -> u64 {
    ReplicaId::from_raft(raft_id).node()
}

impl fmt::Display for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node_id, self.generation)
    }
}

impl fmt::Debug for ReplicaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_founder_has_its_nodes_number_and_nobody_else_has() {
        assert_eq!(ReplicaId::founder(3).raft(), 3);
        let later = ReplicaId {
            node_id: 3,
            generation: 7,
        };
        assert_ne!(later.raft(), 3);
        assert_eq!(ReplicaId::from_raft(later.raft()), later);
        assert_eq!((node_of(later.raft()), later.node()), (3, 3));
    }
}
