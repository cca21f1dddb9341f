//! The nodes where replicas should be, and the next replica to move.
//!
//! All functions here are pure. A dry run calls the same functions until they find no more moves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::members::{Directory, DirectoryCommand};

/// A change of a shard's replicas: one is added, one is removed, or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) shard: u32,
    pub(crate) from: Option<u64>,
    pub(crate) to: Option<u64>,
    pub(crate) why: Why,
}

/// The reason why a replica moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its node is drained.
    Drain,
    /// The shard has fewer replicas than it should.
    TooFew,
    /// The shard has more replicas than it should.
    TooMany,
    /// Two replicas would be lost with one zone.
    Zones,
    /// One node has more replicas than another.
    Load,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drain => "its node is drained",
            Self::TooFew => "the shard has too few replicas",
            Self::TooMany => "the shard has too many replicas",
            Self::Zones => "two replicas share a zone",
            Self::Load => "another node has fewer replicas",
        })
    }
}

impl Move {
    /// Returns the shard's nodes after the move.
    pub(crate) fn nodes(&self, directory: &Directory) -> BTreeSet<u64> {
        let placement = directory.placements.get(self.shard as usize);
        let mut nodes = placement.map(|placement| placement.nodes()).unwrap_or_default();
        if let Some(from) = self.from {
            nodes.remove(&from);
        }
        nodes.extend(self.to);
        nodes
    }

    /// Returns the command that asks the directory for the move.
    pub(crate) fn command(&self, directory: &Directory) -> DirectoryCommand {
        DirectoryCommand::Place {
            shard: self.shard,
            nodes: self.nodes(directory),
        }
    }
}

/// Returns how many replicas each member has.
fn loads(directory: &Directory) -> BTreeMap<u64, usize> {
    let mut loads: BTreeMap<u64, usize> = directory.members.keys().map(|node| (*node, 0)).collect();
    for node in directory
        .placements
        .iter()
        .flat_map(|placement| placement.nodes())
    {
        *loads.entry(node).or_default() += 1;
    }
    loads
}

/// Counts the pairs of these nodes that share a zone. A node without a named zone shares none.
fn shared_zones(directory: &Directory, nodes: &BTreeSet<u64>) -> usize {
    let zones: Vec<&str> = nodes
        .iter()
        .filter_map(|node| directory.members.get(node))
        .map(|member| member.address.zone.as_str())
        .filter(|zone| !zone.is_empty())
        .collect();
    let pairs = zones.iter().enumerate();
    pairs
        .map(|(at, zone)| zones[at + 1..].iter().filter(|other| *other == zone).count())
        .sum()
}

fn with(nodes: &BTreeSet<u64>, node: u64) -> BTreeSet<u64> {
    nodes.iter().copied().chain([node]).collect()
}

fn without(nodes: &BTreeSet<u64>, node: u64) -> BTreeSet<u64> {
    nodes.iter().copied().filter(|other| *other != node).collect()
}

/// Returns the best node for one more replica beside these.
fn best(directory: &Directory, nodes: &BTreeSet<u64>, live: &BTreeSet<u64>) -> Option<u64> {
    let loads = loads(directory);
    let candidates = directory
        .members
        .iter()
        .filter(|(node, member)| !member.draining && live.contains(node) && !nodes.contains(node));
    candidates
        .map(|(node, _)| *node)
        .min_by_key(|node| (shared_zones(directory, &with(nodes, *node)), loads[node], *node))
}

/// Returns the nodes for one more shard of a cluster that is being founded.
pub(crate) fn first_nodes(directory: &Directory) -> BTreeSet<u64> {
    let all: BTreeSet<u64> = directory.members.keys().copied().collect();
    let mut nodes = BTreeSet::new();
    while nodes.len() < directory.replication_factor as usize {
        match best(directory, &nodes, &all) {
            Some(node) => nodes.insert(node),
            None => break,
        };
    }
    nodes
}

/// Returns the next replica to move. Looks only at complete shards, and gives replicas only to nodes in
/// `live`.
pub(crate) fn next_move(directory: &Directory, live: &BTreeSet<u64>) -> Option<Move> {
    let complete = || {
        (0..)
            .zip(&directory.placements)
            .filter(|(_, placement)| placement.is_complete())
            .map(|(shard, placement): (u32, _)| (shard, placement.nodes()))
    };
    let goes = |node: &u64| directory.members.get(node).is_none_or(|member| member.draining);
    let wanted = directory.replication_factor as usize;
    for (shard, nodes) in complete() {
        if let Some(from) = nodes.iter().copied().find(goes) {
            let rest = without(&nodes, from);
            let to = best(directory, &rest, live).filter(|_| rest.len() < wanted);
            if to.is_some() || rest.len() >= wanted {
                let why = Why::Drain;
                return Some(Move {
                    shard,
                    from: Some(from),
                    to,
                    why,
                });
            }
        }
    }
    for (shard, nodes) in complete() {
        if nodes.len() < wanted
            && let Some(to) = best(directory, &nodes, live)
        {
            let why = Why::TooFew;
            return Some(Move {
                shard,
                from: None,
                to: Some(to),
                why,
            });
        }
        if nodes.len() > wanted {
            let loads = loads(directory);
            let worst = nodes.iter().copied().min_by_key(|node| {
                let left = shared_zones(directory, &without(&nodes, *node));
                (left, std::cmp::Reverse(loads.get(node).copied()), *node)
            });
            let why = Why::TooMany;
            return Some(Move {
                shard,
                from: worst,
                to: None,
                why,
            });
        }
    }
    if !directory.balancing {
        return None;
    }
    let loads = loads(directory);
    let mut spread: Option<Move> = None;
    for (shard, nodes) in complete() {
        let now = shared_zones(directory, &nodes);
        for from in &nodes {
            let rest = without(&nodes, *from);
            let Some(to) = best(directory, &rest, live).filter(|to| to != from) else {
                continue;
            };
            let then = shared_zones(directory, &with(&rest, to));
            let of = |why| Move {
                shard,
                from: Some(*from),
                to: Some(to),
                why,
            };
            if then < now {
                return Some(of(Why::Zones));
            }
            let evens = loads[from] >= loads[&to] + 2 && then == now;
            let heavier = spread
                .as_ref()
                .and_then(|best| best.from)
                .is_none_or(|best| loads[from] > loads[&best]);
            if evens && heavier {
                spread = Some(of(Why::Load));
            }
        }
    }
    spread
}

/// Returns all moves in order, as if each were done at once, and the directory after them.
pub(crate) fn all_moves(directory: &Directory, live: &BTreeSet<u64>) -> (Vec<Move>, Directory) {
    let mut directory = directory.clone();
    for shard in 0..directory.placements.len() {
        complete(&mut directory, shard);
    }
    let mut moves = Vec::new();
    // Each move improves the shards' zones or the loads, so the moves end. The limit guards against a rule
    // that breaks this.
    let limit = directory.placements.len() * (directory.members.len() + 1) * 4;
    while moves.len() < limit
        && let Some(next) = next_move(&directory, live)
    {
        let placed = directory.execute(next.command(&directory));
        if placed != Ok(true) {
            break;
        }
        complete(&mut directory, next.shard as usize);
        moves.push(next);
    }
    (moves, directory)
}

/// Returns a shard that would keep a replica on one of these nodes for lack of another node, and that node.
/// `at_the_end` is the directory that [`all_moves`] returns.
pub(crate) fn stuck(at_the_end: &Directory, node_ids: &[u64]) -> Option<(u32, u64)> {
    (0..).zip(&at_the_end.placements).find_map(|(shard, placement)| {
        let nodes = placement.nodes();
        let node = node_ids.iter().find(|node| nodes.contains(node))?;
        Some((shard, *node))
    })
}

fn complete(directory: &mut Directory, shard: usize) {
    directory.placements[shard].former.clear();
}

/// Returns the members that should vote on the directory itself: an odd number, at most five. Prefers members
/// that vote already, then those that share the fewest zones.
pub(crate) fn directory_voters(directory: &Directory, now: &BTreeSet<u64>) -> BTreeSet<u64> {
    let active: BTreeSet<u64> = directory
        .members
        .iter()
        .filter(|(_, member)| !member.draining)
        .map(|(node, _)| *node)
        .collect();
    let wanted = match active.len() {
        0..=2 => 1,
        3 | 4 => 3,
        _ => 5,
    };
    let mut voters = BTreeSet::new();
    while voters.len() < wanted {
        let candidates = active.difference(&voters).copied();
        let next = candidates.min_by_key(|node| {
            let shared = shared_zones(directory, &with(&voters, *node));
            (!now.contains(node), shared, *node)
        });
        match next {
            Some(next) => voters.insert(next),
            None => break,
        };
    }
    voters
}

#[cfg(test)]
mod tests;
