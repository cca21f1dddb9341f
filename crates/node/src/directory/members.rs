//! The members of a cluster, the replicas of its shards, and the commands that change them.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_shard::ReplicaId;
use serde::{Deserialize, Serialize};

/// The addresses at which a node is reached, and its zone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NodeAddress {
    /// The address for clients: `host:port`.
    pub(crate) client_address: String,
    /// The address for the other nodes: `host:port`.
    pub(crate) peer_address: String,
    /// The address for operators: `host:port`. Empty when the node does not publish it.
    pub(crate) admin_address: String,
    /// The zone or rack that fails together with the node. Empty when its configuration names none.
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

/// The agreement of the first nodes from before the directory existed. It is the same on each of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Genesis {
    pub(crate) shard_count: u32,
    pub(crate) replication_factor: u32,
    /// The founders, in order of their ids.
    pub(crate) founders: Vec<Newcomer>,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) disk_id: [u8; 16],
    /// The generation of its replica of this directory.
    pub(crate) generation: u32,
    pub(crate) address: NodeAddress,
    /// Whether the node is drained: its replicas go to other nodes, and it gets none.
    pub(crate) draining: bool,
}

/// The replicas of one shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// The replicas that the shard should have.
    pub(crate) replicas: BTreeSet<ReplicaId>,
    /// The replicas that the shard had before, until its leader reports that it has the new ones.
    pub(crate) former: BTreeSet<ReplicaId>,
}

impl Placement {
    pub(crate) fn is_complete(&self) -> bool {
        self.former.is_empty()
    }

    /// Returns the nodes that should have a replica.
    pub(crate) fn nodes(&self) -> BTreeSet<u64> {
        self.replicas.iter().map(|id| id.node()).collect()
    }

    /// Returns the replica on a node; the newest if there are two.
    pub(crate) fn on(&self, node_id: u64) -> Option<ReplicaId> {
        let here = self.replicas.iter().chain(&self.former);
        here.filter(|id| id.node() == node_id)
            .max_by_key(|id| id.generation)
            .copied()
    }
}

/// The directory of a cluster: its members, and the replicas of each shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Directory {
    /// Number of commands that changed something; 0 before the cluster is founded.
    pub(crate) version: u64,
    pub(crate) replication_factor: u32,
    pub(crate) members: BTreeMap<u64, Member>,
    /// The replicas of each shard, in order of shards.
    pub(crate) placements: Vec<Placement>,
    /// Whether replicas are moved until they are spread evenly.
    pub(crate) balancing: bool,
    /// The highest generation that any replica got so far.
    pub(super) last_generation: u32,
}

/// A command to the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DirectoryCommand {
    /// Founds the cluster. Only the first such command has an effect.
    Found(Genesis),
    /// Admits a node.
    Admit(Newcomer),
    /// Changes the addresses of a member.
    Relocate { node_id: u64, address: NodeAddress },
    /// Gives new replicas to a member that came back with another disk.
    ReplaceDisk { node_id: u64, disk_id: [u8; 16] },
    /// Takes a node's replicas away, or lets it have replicas again.
    SetDraining { node_id: u64, draining: bool },
    /// Forgets a node that has no replicas.
    Remove { node_id: u64 },
    /// Puts a shard's replicas on these nodes.
    Place { shard: u32, nodes: BTreeSet<u64> },
    /// Records that a shard has the replicas that it should have.
    Placed {
        shard: u32,
        replicas: BTreeSet<ReplicaId>,
    },
    /// Begins or ends the even spreading of replicas.
    SetBalancing(bool),
}

/// The directory's answer: whether anything changed, or the reason of a refusal.
pub(crate) type DirectoryAnswer = Result<bool, String>;

impl Directory {
    /// Returns whether there is a cluster yet.
    pub(crate) fn is_founded(&self) -> bool {
        self.version > 0
    }

    /// Returns the replica of a shard that a node has to run. The replicas of an earlier disk of the node are
    /// gone with that disk, even while the shard has no others yet. Started on an empty disk, such a replica
    /// would vote again without knowing what it confirmed.
    pub(crate) fn runs(&self, shard: u32, node_id: u64) -> Option<ReplicaId> {
        let member = self.members.get(&node_id)?;
        let here = self.placements.get(shard as usize)?.on(node_id)?;
        // Generations only grow. A member has the generation from the time when its disk came.
        (here.generation >= member.generation).then_some(here)
    }
}
