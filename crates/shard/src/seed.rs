//! Seed of a shard that begins with a ledger from elsewhere: the restored backup of another cluster.
//!
//! The ledger is planted as a Raft snapshot in every replica that founds the group, before the replica starts
//! for the first time. For Raft, the log has been purged up to the entry at which the ledger stands, so the
//! log goes on after it. So the indexes that the ledger has used (incarnations of orders, positions in
//! changes) never come again. And a replica that comes later, with an empty disk, can only catch up from a
//! snapshot that contains everything.

use std::collections::BTreeSet;

use holdfast_ledger::Ledger;
use openraft::{EmptyNode, Membership};

use crate::raft_types::{LogId, SnapshotMeta, StoredMembership, Vote};
use crate::state_machine::store_snapshot;
use crate::{ReplicaId, ShardStores};

/// A ledger with which a shard begins.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    /// The bytes of [`Ledger::encode`].
    pub ledger: &'a [u8],
    /// The index after which the log goes on. Not before the ledger's own last entry.
    pub log_index: u64,
    /// The digest that the ledger must have.
    pub state_digest: [u8; 32],
}

/// Reason why a seed was not planted.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The shard has begun already.
    #[error("shard {shard} has a log or a snapshot already")]
    NotEmpty {
        /// Number of the shard.
        shard: u32,
    },
    /// The bytes are not a ledger, or not the expected one.
    #[error("the ledger of shard {shard} cannot be used: {what}")]
    Ledger {
        /// Number of the shard.
        shard: u32,
        /// Description of the problem.
        what: String,
    },
    /// The ledger could not be written.
    #[error("the ledger of shard {shard} could not be written: {what}")]
    Write {
        /// Number of the shard.
        shard: u32,
        /// Description of the problem.
        what: String,
    },
}

/// Returns whether the shard has nothing on this disk yet.
fn is_empty(stores: &ShardStores) -> bool {
    let log = stores.log.state(stores.group);
    let nothing_logged = log.last_index.is_none() && log.vote.is_none() && log.purged_through.is_none();
    nothing_logged && stores.snapshots.list().is_empty()
}

/// Plants a ledger in the empty stores of one founding replica. After a crash the ledger counts completely or
/// not at all. The seed and the founders must be the same on every founding replica.
///
/// # Errors
/// See [`SeedError`]; nothing is changed then.
pub fn plant(
    shard: u32,
    stores: &ShardStores,
    founders: &BTreeSet<u64>,
    seed: Seed<'_>,
) -> Result<(), SeedError> {
    if !is_empty(stores) {
        return Err(SeedError::NotEmpty { shard });
    }
    let unusable = |what: String| SeedError::Ledger { shard, what };
    let failed = |what: String| SeedError::Write { shard, what };
    let ledger = Ledger::decode(seed.ledger).map_err(unusable)?;
    if ledger.digest() != seed.state_digest {
        return Err(unusable("its digest is not the one that the backup says".into()));
    }
    if ledger.log_index().is_some_and(|last| last > seed.log_index) {
        return Err(unusable(format!(
            "it stands behind entry {} of its log, at which it is said to stand",
            seed.log_index
        )));
    }
    // The seed's last entry comes before everything that the first leader writes, in term 1 or later. It
    // comes after the first entry, in term 0, which a replica writes by itself when it begins with nothing.
    let nobody = *Vote::new(1, 0).leader_id();
    let last_log_id = LogId::new(nobody, seed.log_index);
    let voters: BTreeSet<u64> = founders
        .iter()
        .map(|node| ReplicaId::founder(*node).raft())
        .collect();
    let nodes = voters.iter().map(|replica| (*replica, EmptyNode::default()));
    let nodes: std::collections::BTreeMap<u64, EmptyNode> = nodes.collect();
    let membership = Membership::new(vec![voters], nodes).map_err(|error| failed(error.to_string()))?;
    let meta = SnapshotMeta {
        last_log_id: Some(last_log_id),
        last_membership: StoredMembership::new(Some(last_log_id), membership),
    };
    store_snapshot(&stores.snapshots, &meta, seed.ledger).map_err(|error| failed(error.to_string()))
}
