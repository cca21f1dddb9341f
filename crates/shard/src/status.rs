//! Status of a replica, as it reports itself.

use crate::Halt;

/// Part that a replica plays in its Raft group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The replica proposes entries.
    Leader,
    /// The replica follows a leader, or waits for one.
    Follower,
    /// The replica stands for election.
    Candidate,
    /// The replica follows without a vote.
    Learner,
    /// The replica is dead: failed disk, panic, or stopped.
    Stopped,
    /// The replica's ledger stands still before an entry that it cannot apply. Its Raft goes on, and may even
    /// lead.
    Halted,
    /// This node has no replica.
    Absent,
}

impl Role {
    /// Returns the role's name in the public API.
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

/// State of one replica, as it sees it. An index of 0 means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Number of the shard.
    pub shard: u32,
    /// Id of the node.
    pub node_id: u64,
    /// Generation of the replica on this node.
    pub generation: u32,
    /// Role of the replica.
    pub role: Role,
    /// The leading node, as far as this replica knows.
    pub leader: Option<u64>,
    /// The nodes that have a vote.
    pub voters: Vec<u64>,
    /// Term of Raft.
    pub term: u64,
    /// The last entry in the replica's log.
    pub last_log_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry that is applied.
    pub applied_index: u64,
    /// The last entry in the newest snapshot.
    pub snapshot_index: u64,
    /// The last entry that was removed from the log.
    pub purged_index: u64,
    /// The oldest change that the replica has; 0 when it has none.
    pub first_seq: u64,
    /// The last change that the replica has.
    pub last_seq: u64,
    /// Number of cells.
    pub cells: u64,
    /// Reservations that are held or committed.
    pub live_reservations: u64,
    /// Orders over several shards that are decided here and that a participant has not followed yet.
    pub unsettled_orders: u64,
    /// Reservations that wait for the decision of an order over several shards.
    pub prepared_reservations: u64,
    /// Log time of the oldest reservation that waits for such a decision; 0 when none waits.
    pub oldest_prepared_ms: u64,
    /// Cells with a deficit.
    pub deficit_cells: u64,
    /// Units that those cells lack together.
    pub deficit_units: u64,
    /// Commands that wait here to be proposed or answered from a read. Only a leader has any.
    pub waiting_commands: u64,
    /// Log time, in milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// The version of the rules by which its ledger decides, from 1; 0 without a replica.
    pub rules: u32,
    /// Time in milliseconds in which this replica may have missed something: since a quorum acknowledged it
    /// as the leader, or since it last heard from a leader. [`u64::MAX`] when neither ever happened.
    pub age_ms: u64,
    /// Reason why the replica stopped, if it did.
    pub stopped_because: Option<String>,
    /// The obstacle before which the ledger stands still, if it does.
    pub halted: Option<Halt>,
}

impl ReplicaStatus {
    /// Returns the status of a shard of which a node has no replica.
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
