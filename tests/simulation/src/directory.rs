//! The directory: the replicas that each shard should have, and their nodes.
//!
//! The real directory is a Raft group of its own, tested with real nodes (`crates/node`). Here it is one
//! table that is always right, and that every node reads at intervals. The simulation tests how a shard
//! moves, not how nodes agree on it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_shard::ReplicaId;
use parking_lot::Mutex;

/// The directory. Clones share its content.
#[derive(Clone)]
pub struct Directory(Arc<Mutex<State>>);

struct State {
    placements: Vec<Placement>,
    /// The generation of each node's disk. Replicas of the node with a lower generation were on a disk that
    /// is gone.
    disks: BTreeMap<u64, u32>,
    last_generation: u32,
}

/// The placement of one shard's replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Replicas that the shard should have.
    pub replicas: BTreeSet<ReplicaId>,
    /// Replicas that the shard had, until it has the others. Empty otherwise.
    pub former: BTreeSet<ReplicaId>,
}

impl Placement {
    /// Returns whether the shard has the replicas that it should have.
    pub fn is_complete(&self) -> bool {
        self.former.is_empty()
    }

    /// Returns the replica on a node, the newest one if there are two.
    fn on(&self, node: u64) -> Option<ReplicaId> {
        let all = self.replicas.iter().chain(&self.former).copied();
        all.filter(|replica| replica.node() == node)
            .max_by_key(|replica| replica.generation)
    }
}

impl State {
    fn next_replica(&mut self, node: u64) -> ReplicaId {
        self.last_generation += 1;
        ReplicaId {
            generation: self.last_generation,
            ..ReplicaId::founder(node)
        }
    }

    fn replace(&mut self, shard: usize, old: ReplicaId, new: ReplicaId) {
        let placement = &mut self.placements[shard];
        if placement.is_complete() {
            placement.former = placement.replicas.clone();
        }
        placement.former.insert(old);
        placement.replicas.remove(&old);
        placement.replicas.insert(new);
    }
}

impl Directory {
    /// Makes a directory with every shard on the nodes 1 to `founders`.
    pub fn new(founders: u64, shards: u32) -> Self {
        let placement = Placement {
            replicas: (1..=founders).map(ReplicaId::founder).collect(),
            former: BTreeSet::new(),
        };
        Self(Arc::new(Mutex::new(State {
            placements: (0..shards).map(|_| placement.clone()).collect(),
            disks: BTreeMap::new(),
            last_generation: 0,
        })))
    }

    /// Returns the replicas of a shard.
    pub fn placement(&self, shard: u32) -> Placement {
        self.0.lock().placements[shard as usize].clone()
    }

    /// Returns the replica of a shard that a node has to run. A replica from an earlier disk does not run.
    pub fn runs(&self, shard: u32, node: u64) -> Option<ReplicaId> {
        let state = self.0.lock();
        let disk = state.disks.get(&node).copied().unwrap_or(0);
        let here = state.placements[shard as usize].on(node);
        here.filter(|replica| replica.generation >= disk)
    }

    /// Returns whether every shard has the replicas that it should have.
    pub fn is_complete(&self) -> bool {
        self.0.lock().placements.iter().all(Placement::is_complete)
    }

    /// Notes that a shard has these replicas.
    pub fn placed(&self, shard: u32, replicas: &BTreeSet<ReplicaId>) {
        let placement = &mut self.0.lock().placements[shard as usize];
        if placement.replicas == *replicas {
            placement.former.clear();
        }
    }

    /// Moves a shard from one node to another. Returns whether it may: not while another move is under way,
    /// nor to a node that has the shard.
    pub fn move_replica(&self, shard: u32, from: u64, to: u64) -> bool {
        let mut state = self.0.lock();
        let placement = &state.placements[shard as usize];
        let leaving = placement.on(from).filter(|_| placement.is_complete());
        let (Some(leaving), None) = (leaving, placement.on(to)) else {
            return false;
        };
        let coming = state.next_replica(to);
        state.replace(shard as usize, leaving, coming);
        true
    }

    /// Notes that a node lost its disk. Each replica that it had is replaced by a new one, which knows
    /// nothing.
    pub fn replace_disk(&self, node: u64) {
        let mut state = self.0.lock();
        state.last_generation += 1;
        let disk = state.last_generation;
        state.disks.insert(node, disk);
        for shard in 0..state.placements.len() {
            let mut replicas = state.placements[shard].replicas.iter();
            if let Some(lost) = replicas.find(|replica| replica.node() == node).copied() {
                let coming = state.next_replica(node);
                state.replace(shard, lost, coming);
            }
        }
    }
}
