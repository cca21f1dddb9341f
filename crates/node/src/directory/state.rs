//! What a cluster agrees on about itself: its members, and which of them have a replica of which shard.
//!
//! Deterministic: no clock and no chance, and what cannot be done is answered and changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_shard::{Document, ReplicaId};
use serde::{Deserialize, Serialize};

use super::plan;

/// The only version so far of what is written and sent.
const VERSION: u8 = 1;

/// Where a node is reached, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// For clients: `host:port`.
    pub(crate) client_address: String,
    /// For the other nodes: `host:port`.
    pub(crate) peer_address: String,
    /// For operators: `host:port`; empty when it is not told to others.
    pub(crate) admin_address: String,
    /// What fails together with it: a zone, a rack. Empty when nobody said.
    pub(crate) zone: String,
}

/// A node as it introduces itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Newcomer {
    pub(crate) node_id: u64,
    /// Of its data folder, made with it. A node with another disk has forgotten everything.
    pub(crate) disk_id: [u8; 16],
    pub(crate) place: Place,
}

/// What the first nodes agreed on before there was a directory. The same on each of them.
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
    /// Of its replica of this directory.
    pub(crate) generation: u32,
    pub(crate) place: Place,
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
    last_generation: u32,
}

/// What is asked of the directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum DirectoryCommand {
    /// Make the cluster. Only the first one counts.
    Found(Genesis),
    /// Take a node in.
    Admit(Newcomer),
    /// A member is reached elsewhere now.
    Relocate { node_id: u64, place: Place },
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
    pub(crate) fn is_founded(&self) -> bool {
        self.version > 0
    }

    /// A founded directory.
    pub(crate) fn founded(genesis: &Genesis) -> Self {
        let members = genesis.founders.iter().map(|founder| {
            let member = Member {
                disk_id: founder.disk_id,
                generation: 0,
                place: founder.place.clone(),
                draining: false,
            };
            (founder.node_id, member)
        });
        let mut directory = Self {
            version: 1,
            replication_factor: genesis.replication_factor,
            members: members.collect(),
            ..Self::default()
        };
        for _ in 0..genesis.shard_count {
            let nodes = plan::first_nodes(&directory);
            directory.placements.push(Placement {
                replicas: nodes.into_iter().map(ReplicaId::founder).collect(),
                former: BTreeSet::new(),
            });
        }
        directory
    }

    /// Does what is asked, if it can be done.
    pub(crate) fn execute(&mut self, command: DirectoryCommand) -> DirectoryAnswer {
        if !self.is_founded() {
            return match command {
                DirectoryCommand::Found(genesis) => {
                    *self = Self::founded(&genesis);
                    Ok(true)
                }
                _ => Err("the cluster is not founded yet".to_owned()),
            };
        }
        let changed = match command {
            DirectoryCommand::Found(_) => false,
            DirectoryCommand::Admit(newcomer) => self.admit(newcomer)?,
            DirectoryCommand::Relocate { node_id, place } => {
                let member = self.member(node_id)?;
                std::mem::replace(&mut member.place, place.clone()) != place
            }
            DirectoryCommand::ReplaceDisk { node_id, disk_id } => self.replace_disk(node_id, disk_id)?,
            DirectoryCommand::SetDraining { node_id, draining } => {
                let member = self.member(node_id)?;
                std::mem::replace(&mut member.draining, draining) != draining
            }
            DirectoryCommand::Remove { node_id } => self.remove(node_id)?,
            DirectoryCommand::Place { shard, nodes } => self.place(shard, &nodes)?,
            DirectoryCommand::Settled { shard, replicas } => {
                let placement = self.placement(shard)?;
                let settled = placement.replicas == replicas && !placement.is_settled();
                if settled {
                    placement.former.clear();
                }
                settled
            }
            DirectoryCommand::SetBalancing(balancing) => {
                std::mem::replace(&mut self.balancing, balancing) != balancing
            }
        };
        self.version += u64::from(changed);
        Ok(changed)
    }

    /// The replica of a shard that a node has to run. What an earlier disk of the node had is gone with that disk, also while the
    /// shard has not found others yet: run on an empty disk, it would vote anew without knowing what it confirmed.
    pub(crate) fn runs(&self, shard: u32, node_id: u64) -> Option<ReplicaId> {
        let member = self.members.get(&node_id)?;
        let here = self.placements.get(shard as usize)?.on(node_id)?;
        // Numbers grow, and a member has its own from when its disk came.
        (here.generation >= member.generation).then_some(here)
    }

    fn member(&mut self, node_id: u64) -> Result<&mut Member, String> {
        let known = known(&self.members);
        let member = self.members.get_mut(&node_id);
        member.ok_or_else(|| format!("there is no node {node_id}; members are {known}"))
    }

    fn placement(&mut self, shard: u32) -> Result<&mut Placement, String> {
        let count = self.placements.len();
        let placement = self.placements.get_mut(shard as usize);
        placement.ok_or_else(|| format!("there is no shard {shard}, this cluster has {count}"))
    }

    fn next_generation(&mut self) -> Result<u32, String> {
        // Far from its end: the groups of the node's log are numbered with it, see `stores`.
        let next = self.last_generation.checked_add(1).filter(|next| *next < 1 << 24);
        self.last_generation =
            next.ok_or("replicas were moved too often: make a new cluster from a backup")?;
        Ok(self.last_generation)
    }

    fn admit(&mut self, newcomer: Newcomer) -> Result<bool, String> {
        let node_id = newcomer.node_id;
        if let Some(member) = self.members.get(&node_id) {
            return match member.disk_id == newcomer.disk_id {
                true => Ok(false),
                false => Err(format!(
                    "node {node_id} is a member already, with another disk; give the new node an id of its own"
                )),
            };
        }
        let place = &newcomer.place;
        let taken = self.members.iter().find(|(_, member)| {
            member.place.peer_address == place.peer_address
                || member.place.client_address == place.client_address
        });
        if let Some((other, _)) = taken {
            return Err(format!(
                "node {node_id} says that it is reached where node {other} is: correct its addresses"
            ));
        }
        let generation = self.next_generation()?;
        let member = Member {
            disk_id: newcomer.disk_id,
            generation,
            place: newcomer.place,
            draining: false,
        };
        self.members.insert(node_id, member);
        Ok(true)
    }

    fn replace_disk(&mut self, node_id: u64, disk_id: [u8; 16]) -> Result<bool, String> {
        if self.member(node_id)?.disk_id == disk_id {
            return Ok(false);
        }
        let generation = self.next_generation()?;
        let member = self.member(node_id)?;
        member.disk_id = disk_id;
        member.generation = generation;
        for shard in 0..self.placements.len() {
            let lost = self.placements[shard]
                .replicas
                .iter()
                .find(|id| id.node() == node_id)
                .copied();
            if let Some(lost) = lost {
                let generation = self.next_generation()?;
                let placement = &mut self.placements[shard];
                if placement.is_settled() {
                    placement.former = placement.replicas.clone();
                }
                placement.former.insert(lost);
                placement.replicas.remove(&lost);
                placement.replicas.insert(ReplicaId { generation, ..lost });
            }
        }
        Ok(true)
    }

    fn remove(&mut self, node_id: u64) -> Result<bool, String> {
        if !self.members.contains_key(&node_id) {
            return Ok(false);
        }
        let shards: Vec<String> = (0..)
            .zip(&self.placements)
            .filter(|(_, placement)| placement.on(node_id).is_some())
            .map(|(shard, _): (u32, _)| shard.to_string())
            .collect();
        if !shards.is_empty() {
            return Err(format!(
                "node {node_id} has replicas of shards {}: drain it first",
                shards.join(", ")
            ));
        }
        if self.members.len() == 1 {
            return Err(format!("node {node_id} is the only one"));
        }
        self.members.remove(&node_id);
        Ok(true)
    }

    fn place(&mut self, shard: u32, nodes: &BTreeSet<u64>) -> Result<bool, String> {
        if let Some(stranger) = nodes.iter().find(|node| !self.members.contains_key(node)) {
            return Err(format!("there is no node {stranger}"));
        }
        if nodes.is_empty() {
            return Err("a shard needs at least one replica".to_owned());
        }
        let placement = self.placement(shard)?;
        if placement.nodes() == *nodes {
            return Ok(false);
        }
        if !placement.is_settled() {
            return Err(format!("shard {shard} is still on its way to other nodes"));
        }
        let before = placement.replicas.clone();
        let mut replicas = BTreeSet::new();
        for node in nodes {
            let stays = before.iter().find(|id| id.node() == *node).copied();
            let replica = match stays {
                Some(stays) => stays,
                None => ReplicaId {
                    generation: self.next_generation()?,
                    ..ReplicaId::founder(*node)
                },
            };
            replicas.insert(replica);
        }
        *self.placement(shard)? = Placement {
            replicas,
            former: before,
        };
        Ok(true)
    }
}

fn known(members: &BTreeMap<u64, Member>) -> String {
    let ids: Vec<String> = members.keys().map(u64::to_string).collect();
    ids.join(", ")
}

/// Writes a value behind a version byte.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    // Made of numbers, texts, sets and maps: they can always be written.
    postcard::to_extend(value, vec![VERSION])
        .map(Bytes::from)
        .unwrap_or_default()
}

/// Reads what [`encode`] wrote.
pub(crate) fn decode<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    match bytes.split_first() {
        Some((&VERSION, body)) => match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(format!("{} bytes too many", rest.len())),
            Err(error) => Err(format!("not readable: {error}")),
        },
        Some((version, _)) => Err(format!(
            "version {version} is not supported, this is version {VERSION}"
        )),
        None => Err("empty".to_owned()),
    }
}

impl Document for Directory {
    fn apply(&mut self, command: &[u8]) -> Bytes {
        let answer: DirectoryAnswer = decode(command).and_then(|command| {
            // What is refused half way changes nothing.
            let mut changed = self.clone();
            let answer = changed.execute(command)?;
            *self = changed;
            Ok(answer)
        });
        encode(&answer)
    }

    fn encode(&self) -> Bytes {
        encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        decode(bytes)
    }
}

#[cfg(test)]
pub(super) mod tests;
