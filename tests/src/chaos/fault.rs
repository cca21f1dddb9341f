//! Faults that happen to a cluster while buyers go on.

use crate::Capability;

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// SIGKILL of a node that leads.
    LeaderKilled,
    /// SIGKILL of a node that follows.
    FollowerKilled,
    /// SIGKILL of all nodes at once.
    AllKilled,
    /// SIGSTOP of a node that leads, until another one leads; then it continues as if nothing had happened.
    LeaderPaused,
    /// A node that leads and the others do not hear each other.
    LeaderCutOff,
    /// Nobody hears a node that leads, and it hears everybody.
    LeaderUnheard,
    /// A node that leads hears nobody, and everybody hears it.
    LeaderDeaf,
    /// Everything between nodes takes longer.
    SlowNetwork,
    /// All connections between nodes break off at once.
    ConnectionsBroken,
    /// The writes of a node that leads all fail, as on a full disk.
    DiskFull,
    /// A byte of a node's log is changed when the node starts.
    LogDamaged,
    /// A byte of the last batch that a node confirmed is changed when the node starts.
    LastBatchDamaged,
    /// A byte of a node's change history is changed when the node starts.
    HistoryDamaged,
    /// Each node is asked to stop and started again, one after another.
    RollingRestart,
    /// Some connections between nodes break and some bytes come late, again and again.
    ConnectionsFlaky,
    /// Packets between nodes are lost.
    PacketsLost,
    /// The clock of a node that leads leaps an hour ahead, and back.
    ClockAhead,
    /// The clock of a node that leads leaps an hour back, and ahead again.
    ClockBehind,
    /// While a node that leads is cut off, another one is killed: no majority is left until it is back.
    LeaderCutOffAndFollowerKilled,
    /// SIGKILL of a node that leads, while everything between nodes takes longer.
    LeaderKilledOnSlowNetwork,
    /// SIGSTOP of a node that leads, while connections break.
    LeaderPausedOnFlakyNetwork,
    /// SIGKILL of a node that follows, and its data folder is gone. It comes back as a new replica, which
    /// learns first.
    WipedDisk,
    /// The replicas of a node that leads move to others, and back.
    ReplicasMoved,
    /// A node is removed; then one with its name and an empty disk is added.
    NodeReplaced,
    /// SIGKILL of a node that leads, while a follower's replica of its shard moves to another node.
    LeaderKilledWhileMoving,
    /// SIGKILL of a node that leads, while its own replicas move to another node.
    DrainedLeaderKilled,
    /// A node that leads and the others do not hear each other, while a follower's replica of its shard moves
    /// to another node.
    PartitionWhileMoving,
    /// The node to which a replica moves and the others do not hear each other.
    NewcomerCutOffWhileMoving,
}

impl Fault {
    /// All faults.
    pub const ALL: [Self; 28] = [
        Self::LeaderKilled,
        Self::FollowerKilled,
        Self::AllKilled,
        Self::LeaderPaused,
        Self::LeaderCutOff,
        Self::LeaderUnheard,
        Self::LeaderDeaf,
        Self::SlowNetwork,
        Self::ConnectionsBroken,
        Self::DiskFull,
        Self::LogDamaged,
        Self::LastBatchDamaged,
        Self::HistoryDamaged,
        Self::RollingRestart,
        Self::ConnectionsFlaky,
        Self::PacketsLost,
        Self::ClockAhead,
        Self::ClockBehind,
        Self::LeaderCutOffAndFollowerKilled,
        Self::LeaderKilledOnSlowNetwork,
        Self::LeaderPausedOnFlakyNetwork,
        Self::WipedDisk,
        Self::ReplicasMoved,
        Self::NodeReplaced,
        Self::LeaderKilledWhileMoving,
        Self::DrainedLeaderKilled,
        Self::PartitionWhileMoving,
        Self::NewcomerCutOffWhileMoving,
    ];

    /// Returns what a cluster must allow for this fault.
    pub(super) fn needs(self) -> Option<Capability> {
        match self {
            Self::PacketsLost => Some(Capability::PacketLoss),
            Self::ClockAhead | Self::ClockBehind => Some(Capability::OwnClocks),
            Self::ReplicasMoved
            | Self::NodeReplaced
            | Self::LeaderKilledWhileMoving
            | Self::DrainedLeaderKilled
            | Self::PartitionWhileMoving
            | Self::NewcomerCutOffWhileMoving => Some(Capability::SpareNode),
            _ => None,
        }
    }
}

impl std::str::FromStr for Fault {
    type Err = String;

    /// Parses the name of a fault, as reports print it.
    fn from_str(name: &str) -> Result<Self, String> {
        let named = |fault: &Self| format!("{fault:?}").eq_ignore_ascii_case(name);
        Self::ALL.into_iter().find(named).ok_or_else(|| {
            let names = Self::ALL.map(|fault| format!("{fault:?}"));
            format!("no such fault; there are: {}", names.join(", "))
        })
    }
}
