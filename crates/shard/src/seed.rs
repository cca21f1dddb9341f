//! A shard that begins with a ledger from elsewhere: the restored backup of another cluster.
//!
//! The ledger is planted as a Raft snapshot, before the replica is started for the first time, in every replica that founds the
//! group. For Raft the log has been purged up to the entry at which the ledger stands. So the log goes on behind it: the indexes that the
//! ledger has used (incarnations of orders, positions in changes) never come again, and a replica that comes later, with nothing, can
//! only be caught up with a snapshot that has it all.

use std::collections::BTreeSet;

use holdfast_ledger::Ledger;
use openraft::{EmptyNode, Membership};

use crate::raft_types::{LogId, SnapshotMeta, StoredMembership, Vote};
use crate::state_machine::store_snapshot;
use crate::{ReplicaId, ShardStores};

/// A ledger to begin with.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    /// The bytes of [`Ledger::encode`].
    pub ledger: &'a [u8],
    /// Where the log is to go on: behind this index. Not before the ledger's own last entry.
    pub log_index: u64,
    /// The digest that the ledger must have.
    pub state_digest: [u8; 32],
}

/// Why a seed was not planted.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The shard has begun already.
    #[error("shard {shard} has a log or a snapshot already")]
    NotEmpty {
        /// Which shard.
        shard: u32,
    },
    /// The bytes are no ledger, or not the one that was meant.
    #[error("the ledger of shard {shard} cannot be used: {what}")]
    Ledger {
        /// Which shard.
        shard: u32,
        /// Why.
        what: String,
    },
    /// It could not be written.
    #[error("the ledger of shard {shard} could not be planted: {what}")]
    Write {
        /// Which shard.
        shard: u32,
        /// Why.
        what: String,
    },
}

/// Has the shard nothing on this disk yet?
fn is_empty(stores: &ShardStores) -> bool {
    let log = stores.log.state(stores.group);
    let nothing_logged = log.last_index.is_none() && log.vote.is_none() && log.purged_through.is_none();
    nothing_logged && stores.snapshots.list().is_empty()
}

/// Plants a ledger in the empty stores of one founding replica. It counts at once or, after a crash, not at all. The seed and the
/// founders must be the same on every founding replica.
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
        return Err(unusable("its digest is another one than was written down".into()));
    }
    if ledger.log_index().is_some_and(|last| last > seed.log_index) {
        return Err(unusable(format!(
            "it stands behind entry {} of its log, at which it is said to stand",
            seed.log_index
        )));
    }
    // Before whatever the first leader writes, in term 1 or later; after the first entry that a replica writes by itself when it
    // begins with nothing, in term 0.
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
