//! Options and stores with which one replica of a shard starts.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_ledger::LedgerOptions;
use holdfast_storage::{ChangeLog, GroupId, Log, SnapshotStore};

use crate::ReplicaId;
use crate::election::{ElectionOptions, fallback_timeouts_ms};

/// Options of a replica. They are the same on every node of a cluster, except `node_id`.
#[derive(Debug, Clone)]
pub struct ShardOptions {
    /// Number of the shard.
    pub shard: u32,
    /// Id of this node, 1 to 2^32 - 1.
    pub node_id: u64,
    /// Tells this replica from all others that ever were on this node: see [`ReplicaId`]. 0 for a founder.
    pub generation: u32,
    /// The nodes that found the group, this one among them. They have the first votes. Empty for a replica
    /// that comes later: it waits until the group's leader speaks to it.
    pub founders: BTreeSet<u64>,
    /// Options of the ledger. Read only when the shard is new; later they are part of its state.
    pub ledger: LedgerOptions,
    /// Interval of a leader's heartbeats, in milliseconds.
    pub heartbeat_ms: u64,
    /// The silence after which a leader is missed and the first in turn asks to be elected, in milliseconds.
    /// More than twice `heartbeat_ms`.
    pub election_timeout_min_ms: u64,
    /// The silence after which the last in turn asks, in milliseconds. It exceeds the minimum by the time
    /// that an election takes, so that replicas do not stand at once.
    pub election_timeout_max_ms: u64,
    /// Most commands in one log entry.
    pub max_entry_commands: usize,
    /// Approximate limit for the bytes of commands in one log entry (one command alone may be larger).
    pub max_entry_bytes: usize,
    /// Most entries that are proposed and not yet applied.
    pub max_entries_in_flight: usize,
    /// Most commands that wait for an entry; more are refused as overloaded. Reserves are refused when half
    /// of the queue is full, and everything except commits, releases, seals and the later steps of orders
    /// when three quarters are full.
    pub queue_limit_commands: usize,
    /// Most reads that wait for a confirmation; more are refused as overloaded.
    pub queue_limit_reads: usize,
    /// Number of entries after which a snapshot is built.
    pub snapshot_every_entries: u64,
    /// Number of entries before a snapshot that stay in the log, so that a replica that lags a little needs
    /// no snapshot.
    pub keep_entries_for_laggards: u64,
    /// Most requests to one peer that have no answer yet.
    pub max_appends_in_flight: usize,
    /// Bytes in one chunk of a snapshot that is sent to a peer.
    pub snapshot_chunk_bytes: usize,
    /// Size of the largest snapshot that is accepted from a peer, in bytes.
    pub max_snapshot_bytes: u64,
    /// The least age, in milliseconds of log time, of a change that is dropped from the change log. It is dropped
    /// only after every required consumer has passed it.
    pub history_ms: u64,
}

impl ShardOptions {
    /// Returns sensible values for everything except the shard, the node, the founders and the ledger.
    pub fn new(shard: u32, node_id: u64, founders: BTreeSet<u64>, ledger: LedgerOptions) -> Self {
        Self {
            shard,
            node_id,
            generation: 0,
            founders,
            ledger,
            heartbeat_ms: 50,
            election_timeout_min_ms: 200,
            election_timeout_max_ms: 300,
            max_entry_commands: 1024,
            max_entry_bytes: 512 * 1024,
            max_entries_in_flight: 8,
            queue_limit_commands: 65_536,
            queue_limit_reads: 16_384,
            snapshot_every_entries: 20_000,
            keep_entries_for_laggards: 5_000,
            max_appends_in_flight: 16,
            snapshot_chunk_bytes: 256 * 1024,
            max_snapshot_bytes: 8 << 30,
            history_ms: 7 * 24 * 3_600_000,
        }
    }

    /// Returns the id of this replica.
    pub fn replica_id(&self) -> ReplicaId {
        ReplicaId {
            generation: self.generation,
            ..ReplicaId::founder(self.node_id)
        }
    }

    /// Returns the Raft id of this replica.
    pub(crate) fn raft_id(&self) -> u64 {
        self.replica_id().raft()
    }

    /// Returns the options by which this replica misses its leader.
    pub(crate) fn election(&self) -> ElectionOptions {
        ElectionOptions {
            group: self.shard,
            own_id: self.raft_id(),
            timeout_min: Duration::from_millis(self.election_timeout_min_ms),
            timeout_max: Duration::from_millis(self.election_timeout_max_ms),
        }
    }

    /// Returns how long a leader takes proposals without an answer of a quorum.
    pub(crate) fn lease(&self) -> Duration {
        Duration::from_millis(fallback_timeouts_ms(self.election_timeout_max_ms).1)
    }

    /// Returns the Raft ids of the founders.
    pub(crate) fn founder_ids(&self) -> BTreeSet<u64> {
        self.founders
            .iter()
            .map(|node| ReplicaId::founder(*node).raft())
            .collect()
    }

    /// Checks that the options fit together.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn check(&self) -> Result<(), String> {
        let positive = [
            (self.heartbeat_ms, "heartbeat_ms"),
            (self.max_entry_commands as u64, "max_entry_commands"),
            (self.max_entry_bytes as u64, "max_entry_bytes"),
            (self.max_entries_in_flight as u64, "max_entries_in_flight"),
            (self.queue_limit_commands as u64, "queue_limit_commands"),
            (self.queue_limit_reads as u64, "queue_limit_reads"),
            (self.snapshot_every_entries, "snapshot_every_entries"),
            (self.max_appends_in_flight as u64, "max_appends_in_flight"),
            (self.snapshot_chunk_bytes as u64, "snapshot_chunk_bytes"),
        ];
        if let Some((_, name)) = positive.iter().find(|(value, _)| *value == 0) {
            return Err(format!("{name} must be at least 1"));
        }
        let numbers = 1..=u64::from(u32::MAX);
        if let Some(node_id) = self
            .founders
            .iter()
            .chain([&self.node_id])
            .find(|id| !numbers.contains(id))
        {
            return Err(format!("node id {node_id} is not one of 1 to {}", numbers.end()));
        }
        let founds = !self.founders.is_empty();
        if founds && (!self.founders.contains(&self.node_id) || self.generation != 0) {
            return Err(format!(
                "replica {}.{} is not one of the founders {:?}",
                self.node_id, self.generation, self.founders
            ));
        }
        if self.election_timeout_min_ms <= self.heartbeat_ms * 2 {
            return Err(format!(
                "election_timeout_min_ms is {}, it must be more than twice heartbeat_ms ({})",
                self.election_timeout_min_ms, self.heartbeat_ms
            ));
        }
        if self.election_timeout_max_ms <= self.election_timeout_min_ms {
            return Err(format!(
                "election_timeout_max_ms is {}, it must be more than election_timeout_min_ms ({})",
                self.election_timeout_max_ms, self.election_timeout_min_ms
            ));
        }
        Ok(())
    }
}

/// Stores of a replica, for what it must not forget.
pub struct ShardStores {
    /// The node's write-ahead log, shared by all its shards.
    pub log: Log,
    /// This replica's part of that log.
    pub group: GroupId,
    /// Snapshots of this shard.
    pub snapshots: SnapshotStore,
    /// Changes of this shard.
    pub changes: ChangeLog,
}
