//! The members of a cluster, the replicas of its shards, and the commands that change them.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_shard::ReplicaId;
use serde::{Deserialize, Serialize};

/// The addresses at which a node is reached, and the zone that it stands in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeAddress {
    /// For clients: `host:port`.
    pub(crate) client_address: String,
    /// For the other nodes: `host:port`.
    pub(crate) peer_address: String,
    /// For operators: `host:port`; empty when it is not told to others.
    pub(crate) admin_address: String,
    /// The zone or rack that fails together with it. Empty when nobody said.
    pub(crate) zone: String,
}

/// A node as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newcomer {
    pub(crate) node_id: u64,
    /// Identifies the data folder. Created with it, so a different id means an empty disk.
    pub(crate) disk_id: [u8; 16],
    pub(crate) address: NodeAddress,
}

/// The agreement of the first nodes before there was a directory. The same on each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Genesis {
    pub(crate) shard_count: u32,
    pub(crate) replication_factor: u32,
    /// In order of their ids.
    pub(crate) founders: Vec<Newcomer>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) disk_id: [u8; 16],
    /// The generation of its replica of this directory.
    pub(crate) generation: u32,
    pub(crate) address: NodeAddress,
    /// Its replicas go to others, and it gets none.
    pub(crate) draining: bool,
}

/// The replicas of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// Those it should have.
    pub(crate) replicas: BTreeSet<ReplicaId>,
    /// Those it had, until the shard's leader has told that it has the others.
    pub(crate) former: BTreeSet<ReplicaId>,
}

impl Placement {
    pub(crate) fn is_settled(&self) -> bool {
        self.former.is_empty()
    }

    /// The nodes that should have a replica.
    pub(crate) fn nodes(&self) -> BTreeSet<u64> {
        self.replicas.iter().map(|id| id.node()).collect()
    }

    /// The replica on a node, the newest if there are two.
    pub(crate) fn on(&self, node_id: u64) -> Option<ReplicaId> {
        let here = self.replicas.iter().chain(&self.former);
        here.filter(|id| id.node() == node_id)
            .max_by_key(|id| id.generation)
            .copied()
    }
}

/// The directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// Counts the commands that changed something; 0 before the cluster is founded.
    pub(crate) version: u64,
    pub(crate) replication_factor: u32,
    pub(crate) members: BTreeMap<u64, Member>,
    /// In order of shard.
    pub(crate) placements: Vec<Placement>,
    /// Replicas are moved until they are spread evenly.
    pub(crate) balancing: bool,
    /// The newest generation that any replica has.
    pub(super) last_generation: u32,
}

/// A request to the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DirectoryCommand {
    /// Make the cluster. Only the first one counts.
    Found(Genesis),
    /// Take a node in.
    Admit(Newcomer),
    /// A member is reached elsewhere now.
    Relocate { node_id: u64, address: NodeAddress },
    /// A member came back with another disk: its replicas there are others.
    ReplaceDisk { node_id: u64, disk_id: [u8; 16] },
    /// Take a node's replicas away, or give it some again.
    SetDraining { node_id: u64, draining: bool },
    /// Forget a node that has no replicas.
    Remove { node_id: u64 },
    /// Put a shard's replicas on these nodes.
    Place { shard: u32, nodes: BTreeSet<u64> },
    /// A shard has the replicas that it should have.
    Settled {
        shard: u32,
        replicas: BTreeSet<ReplicaId>,
    },
    /// Begin or end to spread replicas evenly.
    SetBalancing(bool),
}

/// The directory's answer: whether anything changed, or why it cannot be.
pub(crate) type DirectoryAnswer = Result<bool, String>;

impl Directory {
    /// Returns whether there is a cluster yet.
    pub(crate) fn is_founded(&self) -> bool {
        self.version > 0
    }

    /// The replica of a shard that a node has to run. What an earlier disk of the node had is gone with that disk, also while the
    /// shard has not found others yet: run on an empty disk, it would vote anew without knowing what it confirmed.
    pub(crate) fn runs(&self, shard: u32, node_id: u64) -> Option<ReplicaId> {
        let member = self.members.get(&node_id)?;
        let here = self.placements.get(shard as usize)?.on(node_id)?;
        // Numbers grow, and a member has its own from when its disk came.
        (here.generation >= member.generation).then_some(here)
    }
}
