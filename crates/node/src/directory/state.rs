//! The state machine of the directory: how its commands change members and placements.
//!
//! Deterministic: there is no clock and no randomness. A command that cannot be done is refused and changes
//! nothing.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use holdfast_shard::{Register, ReplicaId};
use serde::Serialize;

use super::members::{Directory, DirectoryAnswer, DirectoryCommand, Genesis, Member, Newcomer, Placement};
use super::plan;

/// The version of the encoding that is written and sent. There is only this one so far.
const VERSION: u8 = 1;

impl Directory {
    /// Returns the directory that a cluster begins with.
    pub(crate) fn founded(genesis: &Genesis) -> Self {
        let members = genesis.founders.iter().map(|founder| {
            let member = Member {
                disk_id: founder.disk_id,
                generation: 0,
                address: founder.address.clone(),
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

    /// Executes a command, if it can be done.
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
            DirectoryCommand::Relocate { node_id, address } => {
                let member = self.member(node_id)?;
                std::mem::replace(&mut member.address, address.clone()) != address
            }
            DirectoryCommand::ReplaceDisk { node_id, disk_id } => self.replace_disk(node_id, disk_id)?,
            DirectoryCommand::SetDraining { node_id, draining } => {
                let member = self.member(node_id)?;
                std::mem::replace(&mut member.draining, draining) != draining
            }
            DirectoryCommand::Remove { node_id } => self.remove(node_id)?,
            DirectoryCommand::Place { shard, nodes } => self.place(shard, &nodes)?,
            DirectoryCommand::Placed { shard, replicas } => {
                let placement = self.placement(shard)?;
                let complete = placement.replicas == replicas && !placement.is_complete();
                if complete {
                    placement.former.clear();
                }
                complete
            }
            DirectoryCommand::SetBalancing(balancing) => {
                std::mem::replace(&mut self.balancing, balancing) != balancing
            }
        };
        self.version += u64::from(changed);
        Ok(changed)
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
        // The limit is far away. The groups of the node's log are numbered with the generation, see `stores`.
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
        let address = &newcomer.address;
        let taken = self.members.iter().find(|(_, member)| {
            member.address.peer_address == address.peer_address
                || member.address.client_address == address.client_address
        });
        if let Some((other, _)) = taken {
            return Err(format!(
                "node {node_id} has the same address as node {other}: correct the addresses in its configuration"
            ));
        }
        let generation = self.next_generation()?;
        let member = Member {
            disk_id: newcomer.disk_id,
            generation,
            address: newcomer.address,
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
                if placement.is_complete() {
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
            return Err(format!(
                "node {node_id} is the only node, so it cannot be removed"
            ));
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
        if !placement.is_complete() {
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

/// Encodes a value behind a version byte.
pub(crate) fn encode<T: Serialize>(value: &T) -> Bytes {
    // The values consist of numbers, texts, sets and maps, which can always be encoded.
    postcard::to_extend(value, vec![VERSION])
        .map(Bytes::from)
        .unwrap_or_default()
}

/// Decodes what [`encode`] wrote.
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

impl Register for Directory {
    fn apply(&mut self, command: &[u8]) -> Bytes {
        let answer: DirectoryAnswer = decode(command).and_then(|command| {
            // A command that is refused half way changes nothing.
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
