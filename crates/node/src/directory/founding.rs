//! The ways in which a node gets its part in a cluster.
//!
//! The first nodes ask each other. Each answers that it has no part in a cluster yet, and names its disk.
//! Once every node that the configuration lists has answered so, all of them know the same genesis and begin.
//! A node that hears of an existing cluster never founds one of its own: it waits to be admitted. So a node
//! that lost its disk can neither found a second cluster beside the first, nor vote in the first under its
//! old identity.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use holdfast_shard::TransportError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::members::{Directory, Genesis, Newcomer, NodeAddress};
use super::state::{decode, encode};
use super::{Membership, MembershipRecord, peer_section};
use crate::config::PeerSection;
use crate::peers::{CANNOT_CONNECT, Peers};
use crate::{NodeConfig, damage};

/// Pause between two rounds of questions of a node that has no part.
const PAUSE: Duration = Duration::from_millis(100);

/// The refusal of a node that put its damaged data aside: it does not help to found a cluster.
const NO_FOUNDER: &str =
    "this node's data was damaged and is put aside: it waits for the cluster that it belongs to";

/// A node's introduction of itself to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Introduction {
    newcomer: Newcomer,
    shard_count: u32,
    replication_factor: u32,
    /// The nodes that its configuration lists.
    listed: BTreeSet<u64>,
    /// The id of the backup that its data begins with.
    restored_from: Option<[u8; 16]>,
    /// Whether the node has a part already and only asks whether it is still a member. Such a node does not
    /// wait to be admitted.
    has_part: bool,
}

/// The answer to an introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PeerReport {
    /// The node that answers has no part in a cluster either.
    NoClusterYet(Introduction),
    /// The node that asks is a member.
    Member {
        generation: u32,
        /// The cluster's genesis, if the node that asks is a founder.
        genesis: Option<Genesis>,
    },
    /// There is a cluster. The node that asks is not in it, or is in it with another disk.
    Stranger {
        known_with_another_disk: bool,
        /// The cluster's nodes, as far as the node that answers knows them. The node that asks may ask each
        /// of them to admit it.
        members: BTreeMap<u64, NodeAddress>,
    },
}

impl Membership {
    fn replaces_damaged_data(&self) -> bool {
        damage::was_put_aside(&self.config.node.data_dir)
    }

    fn introduction(&self, has_part: bool) -> Introduction {
        Introduction {
            newcomer: self.own.clone(),
            shard_count: self.config.shards.count,
            replication_factor: self.config.cluster.replication_factor,
            listed: self.configured.iter().map(|node| node.node_id).collect(),
            restored_from: self
                .stores
                .restored
                .as_ref()
                .map(|restored| *restored.backup_id.as_bytes()),
            has_part,
        }
    }
}

/// Answers an introduction of node `from`. The error is the reason of a refusal.
pub(super) fn answer(membership: &Membership, from: u64, payload: &[u8]) -> Result<PeerReport, String> {
    let introduction: Introduction = decode(payload)?;
    let newcomer = introduction.newcomer;
    if newcomer.node_id != from {
        return Err(format!(
            "node {from} introduces itself as node {}",
            newcomer.node_id
        ));
    }
    let genesis = match membership.part.lock().as_ref() {
        // This node belongs to a cluster that it has not heard from yet, and must not help to found another
        // one.
        None if membership.replaces_damaged_data() => return Err(NO_FOUNDER.to_owned()),
        None => return Ok(PeerReport::NoClusterYet(membership.introduction(false))),
        Some(part) => part.genesis.clone(),
    };
    if introduction.shard_count != membership.config.shards.count {
        return Err(format!(
            "this cluster has {} shards, node {from} is configured for {}: correct its shards.count",
            membership.config.shards.count, introduction.shard_count
        ));
    }
    let founded_with = |genesis: &Genesis| {
        let mut founders = genesis.founders.iter();
        founders.any(|founder| founder.node_id == from && founder.disk_id == newcomer.disk_id)
    };
    let view = membership.view();
    if introduction.has_part && !view.is_founded() {
        return Err("this node does not know the directory yet".to_owned());
    }
    let member = view.members.get(&from);
    let heard = match member {
        Some(member) if member.disk_id == newcomer.disk_id => PeerReport::Member {
            generation: member.generation,
            genesis: genesis.filter(|_| member.generation == 0),
        },
        // A founder that was away while the others began, and that asks before the directory exists.
        None if !view.is_founded() && genesis.as_ref().is_some_and(founded_with) => PeerReport::Member {
            generation: 0,
            genesis,
        },
        _ => {
            if !introduction.has_part {
                let mut waiting = membership.waiting.lock();
                waiting.insert(from, (newcomer, Instant::now()));
            }
            PeerReport::Stranger {
                known_with_another_disk: member.is_some(),
                members: places(&view),
            }
        }
    };
    Ok(heard)
}

fn places(directory: &Directory) -> BTreeMap<u64, NodeAddress> {
    let members = directory.members.iter();
    members
        .map(|(node, member)| (*node, member.address.clone()))
        .collect()
}

/// Asks the other nodes until this node has a part in a cluster.
pub(super) async fn find_part(membership: &Membership) -> MembershipRecord {
    let mut learnt = BTreeMap::new();
    loop {
        match ask_all(membership, &mut learnt).await {
            Ok(part) => return part,
            Err(obstacle) => {
                let news = membership.obstacle.lock().replace(obstacle.clone());
                if news.as_ref() != Some(&obstacle) {
                    tracing::info!(obstacle, "this node has no part in a cluster yet");
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Returns whether the other nodes say that this node, which has a part, is no longer a member. The members
/// stop sending the directory's decisions to a node when it is removed, so this node may never learn of its
/// removal from the directory itself.
pub(super) async fn is_out(membership: &Membership) -> bool {
    let payload = encode(&membership.introduction(true));
    let own_id = membership.own.node_id;
    let nodes = membership.nodes();
    let others = nodes
        .iter()
        .map(|node| node.node_id)
        .filter(|node| *node != own_id);
    let asked = others.map(|node| membership.peers.introduce(node, payload.clone()));
    let answers = join_all(asked).await;
    let heard: Vec<PeerReport> = answers
        .into_iter()
        .flatten()
        .flat_map(|answer| decode(&answer))
        .collect();
    let says_member = |heard: &PeerReport| matches!(heard, PeerReport::Member { .. });
    let says_stranger = |heard: &PeerReport| matches!(heard, PeerReport::Stranger { .. });
    heard.iter().any(says_stranger) && !heard.iter().any(says_member)
}

/// Returns the address of a member that still runs with another disk than this newcomer's. None when nobody
/// answers there, or the newcomer itself does.
pub(super) async fn other_disk_is_there(membership: &Membership, newcomer: &Newcomer) -> Option<String> {
    let node_id = newcomer.node_id;
    let address = membership
        .view()
        .members
        .get(&node_id)?
        .address
        .peer_address
        .clone();
    let payload = encode(&membership.introduction(true));
    let is_there = match membership.peers.introduce(node_id, payload).await {
        Ok(answer) => match decode::<PeerReport>(&answer) {
            // A node without a part has forgotten its data. If it has the newcomer's disk id, it is the
            // newcomer itself.
            Ok(PeerReport::NoClusterYet(introduction)) => introduction.newcomer.disk_id != newcomer.disk_id,
            Ok(PeerReport::Member { .. } | PeerReport::Stranger { .. }) | Err(_) => true,
        },
        // A node that put its damaged data aside refuses in these words, and waits for new replicas. Any
        // other refusal comes from a node with a part.
        Err(TransportError::NotSent(why)) => !why.contains(CANNOT_CONNECT) && !why.contains(NO_FOUNDER),
        Err(TransportError::Unknown(_)) => false,
    };
    is_there.then_some(address)
}

/// Asks the configured nodes for the members of the cluster, and returns the configured nodes and those
/// members. For a node that has no part it could use.
pub(crate) async fn members_heard(
    config: &NodeConfig,
    configured: &[PeerSection],
    peers: &Peers,
) -> Vec<PeerSection> {
    let own_id = config.node.node_id;
    let introduction = Introduction {
        newcomer: Newcomer {
            node_id: own_id,
            // This id belongs to no folder. A member that knows this node with another disk answers with the
            // list of members.
            disk_id: rand::random(),
            address: NodeAddress::default(),
        },
        shard_count: config.shards.count,
        replication_factor: config.cluster.replication_factor,
        listed: configured.iter().map(|node| node.node_id).collect(),
        restored_from: None,
        // This node only asks; it does not wait to be admitted.
        has_part: true,
    };
    let payload = encode(&introduction);
    let others = configured.iter().map(|node| node.node_id);
    let asked = others
        .filter(|node| *node != own_id)
        .map(|node| peers.introduce(node, payload.clone()));
    let heard = join_all(asked).await.into_iter().flatten();
    let mut nodes = configured.to_vec();
    for heard in heard.filter_map(|answer| decode::<PeerReport>(&answer).ok()) {
        let PeerReport::Stranger { members, .. } = heard else {
            continue;
        };
        for (node, place) in members {
            if nodes.iter().all(|known| known.node_id != node) {
                nodes.push(peer_section(node, &place));
            }
        }
    }
    nodes
}

/// Introduces this node to the nodes that the configuration lists and to those learnt from earlier answers.
/// The leader of the directory must hear of this node, whichever node leads. Returns the part that the
/// answers give this node, or the obstacle to it as the error.
async fn ask_all(
    membership: &Membership,
    learnt: &mut BTreeMap<u64, NodeAddress>,
) -> Result<MembershipRecord, String> {
    let own = membership.introduction(false);
    let payload = encode(&own);
    let own_id = membership.own.node_id;
    let all: BTreeSet<u64> = own.listed.iter().chain(learnt.keys()).copied().collect();
    let others = all.into_iter().filter(|node| *node != own_id);
    let asked = others.map(|node| {
        let payload = payload.clone();
        async move { (node, membership.peers.introduce(node, payload).await) }
    });
    let mut heard = Vec::new();
    for (node, answer) in join_all(asked).await {
        let answer = answer.map_err(|error| error.to_string());
        heard.push((node, answer.and_then(|answer| decode::<PeerReport>(&answer))));
    }
    let told = heard.iter().find_map(|(_, heard)| match heard {
        Ok(PeerReport::Stranger { members, .. }) if !members.is_empty() => Some(members),
        _ => None,
    });
    if let Some(members) = told.filter(|members| *members != learnt) {
        learnt.clone_from(members);
        let unlisted = members.iter().filter(|(node, _)| !own.listed.contains(node));
        let mut nodes = membership.configured.clone();
        nodes.extend(unlisted.map(|(node, place)| peer_section(*node, place)));
        if let Err(error) = membership.peers.set_nodes(&nodes) {
            tracing::warn!(%error, "not all nodes of the cluster can be reached");
        }
    }
    match judge(&own, heard)? {
        part if part.genesis.is_some() && membership.replaces_damaged_data() => Err(NO_FOUNDER.to_owned()),
        part => Ok(part),
    }
}

fn beginning(introduction: &Introduction) -> String {
    match introduction.restored_from {
        None => "empty".to_owned(),
        Some(backup) => format!("with backup {}", uuid::Uuid::from_bytes(backup)),
    }
}

/// Returns the part that the answers give this node. The error is the obstacle to a part.
fn judge(
    own: &Introduction,
    heard: Vec<(u64, Result<PeerReport, String>)>,
) -> Result<MembershipRecord, String> {
    let mut founders = vec![own.newcomer.clone()];
    let mut silent = Vec::new();
    let mut stranger = None;
    for (node, heard) in heard {
        match heard {
            Ok(PeerReport::Member { generation, genesis }) => {
                return Ok(MembershipRecord {
                    generation,
                    genesis,
                    seats: Default::default(),
                    seats_version: 0,
                });
            }
            Ok(PeerReport::Stranger {
                known_with_another_disk,
                ..
            }) => {
                stranger = Some(stranger.unwrap_or(false) || known_with_another_disk);
            }
            Ok(PeerReport::NoClusterYet(other)) => {
                if other.newcomer.node_id != node {
                    return Err(format!("node {node} calls itself {}", other.newcomer.node_id));
                }
                let differs = [
                    (own.listed != other.listed, "peers"),
                    (own.shard_count != other.shard_count, "shards.count"),
                    (
                        own.replication_factor != other.replication_factor,
                        "cluster.replication_factor",
                    ),
                ];
                if own.restored_from != other.restored_from {
                    return Err(format!(
                        "node {node} began {}, this one {}: restore every node of a new cluster from the same backup before its first start",
                        beginning(&other),
                        beginning(own),
                    ));
                }
                if let Some((_, key)) = differs.iter().find(|(differs, _)| *differs) {
                    return Err(format!(
                        "node {node} has another {key} in its configuration: it must be the same on every node that founds a cluster"
                    ));
                }
                founders.push(other.newcomer);
            }
            Err(why) => silent.push(format!("node {node} ({why})")),
        }
    }
    let own_id = own.newcomer.node_id;
    match stranger {
        Some(true) => {
            return Err(format!(
                "the cluster knows node {own_id} with another disk: this node gets replicas once the node with \
                 that disk has stopped and enough other nodes run. A new node needs a number of its own (node.node_id)"
            ));
        }
        Some(false) => {
            return Err(format!(
                "waiting to be admitted: run `holdfast cluster add {own_id}`"
            ));
        }
        None => {}
    }
    if !silent.is_empty() {
        return Err(format!(
            "a cluster is founded when all its first nodes are running: waiting for {}",
            silent.join(", ")
        ));
    }
    founders.sort_by_key(|founder| founder.node_id);
    Ok(MembershipRecord {
        generation: 0,
        genesis: Some(Genesis {
            shard_count: own.shard_count,
            replication_factor: own.replication_factor,
            founders,
        }),
        seats: Default::default(),
        seats_version: 0,
    })
}

#[cfg(test)]
mod tests;
