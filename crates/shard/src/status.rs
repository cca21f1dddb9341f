//! What a replica says about itself.

use crate::Halt;

/// A replica's part in its Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Proposes entries.
    Leader,
    /// Follows a leader, or waits for one.
    Follower,
    /// Stands for election.
    Candidate,
    /// Follows without a vote.
    Learner,
    /// Dead: failed disk, panic, or stopped.
    Stopped,
    /// Its ledger stands still in front of an entry that it cannot apply; its Raft goes on, and it may even lead.
    Halted,
    /// This node has no replica.
    Absent,
}

impl Role {
    /// Its name in the public API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
            Self::Stopped => "stopped",
            Self::Halted => "halted",
            Self::Absent => "absent",
        }
    }
}

/// The state of one replica, as it sees it. An index of 0 means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Of which shard.
    pub shard: u32,
    /// On which node.
    pub node_id: u64,
    /// Which of the replicas that ever were on this node.
    pub generation: u32,
    /// Its part.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<u64>,
    /// The nodes that have a vote.
    pub voters: Vec<u64>,
    /// The Raft term.
    pub term: u64,
    /// The last entry in its log.
    pub last_log_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied.
    pub applied_index: u64,
    /// The last entry in its newest snapshot.
    pub snapshot_index: u64,
    /// The last entry removed from its log.
    pub purged_index: u64,
    /// Its oldest change; 0 when it has none.
    pub first_seq: u64,
    /// Its last change.
    pub last_seq: u64,
    /// Cells.
    pub cells: u64,
    /// Reservations that are held or committed.
    pub live_reservations: u64,
    /// Orders over several shards that are decided here and that a participant has not followed yet.
    pub unsettled_orders: u64,
    /// Reservations that wait for the decision of an order over several shards.
    pub prepared_reservations: u64,
    /// Log time of the oldest such one; 0 when there is none.
    pub oldest_prepared_ms: u64,
    /// Cells with a deficit.
    pub deficit_cells: u64,
    /// Units that they lack together.
    pub deficit_units: u64,
    /// Commands that wait here to be proposed or answered from a read; only a leader has some.
    pub waiting_commands: u64,
    /// Log time, milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// The version of the rules by which its ledger decides, from 1; 0 without a replica.
    pub rules: u32,
    /// For how long, in milliseconds, it cannot rule out that it misses something: since a quorum acknowledged it as the
    /// leader, or since it last heard from one. [`u64::MAX`] when that never was.
    pub age_ms: u64,
    /// Why it stopped, when it did.
    pub stopped_because: Option<String>,
    /// The obstacle in front of which its ledger stands still, if it does.
    pub halted: Option<Halt>,
}

impl ReplicaStatus {
    /// The state of a shard of which a node has no replica.
    pub(crate) fn absent(shard: u32, node_id: u64) -> Self {
        Self {
            shard,
            node_id,
            generation: 0,
            role: Role::Absent,
            leader: None,
            voters: Vec::new(),
            term: 0,
            last_log_index: 0,
            committed_index: 0,
            applied_index: 0,
            snapshot_index: 0,
            purged_index: 0,
            first_seq: 0,
            last_seq: 0,
            cells: 0,
            live_reservations: 0,
            deficit_cells: 0,
            deficit_units: 0,
            waiting_commands: 0,
            unsettled_orders: 0,
            prepared_reservations: 0,
            oldest_prepared_ms: 0,
            log_time_ms: 0,
            rules: 0,
            age_ms: u64::MAX,
            stopped_because: None,
            halted: None,
        }
    }
}
