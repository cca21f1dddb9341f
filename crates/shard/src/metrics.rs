//! Counters of a replica.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident),+ $(,)?) => {
        /// Counts since this replica started; the node exports them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
        pub struct ShardMetrics {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        /// Counters behind [`ShardMetrics`], while they count.
        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)+
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> ShardMetrics {
                ShardMetrics { $($name: self.$name.load(Ordering::Relaxed),)+ }
            }
        }
    };
}

counters! {
    /// Commands that callers on this node submitted.
    commands_submitted,
    /// Commands that this replica handed to Raft as the leader. A command that is tried again is counted
    /// again.
    commands_proposed,
    /// Entries of commands that this replica handed to Raft as the leader.
    entries_proposed,
    /// Empty entries that were proposed so that time passes for what is due.
    time_entries_proposed,
    /// Commands in all entries that this replica applied.
    commands_applied,
    /// Entries that this replica applied.
    entries_applied,
    /// Commands answered from a confirmed read, without a log write.
    refused_from_read,
    /// Commands refused because the queue was full.
    commands_overloaded,
    /// Commands whose outcome stayed unknown.
    outcomes_unknown,
    /// Requests sent to the leader on another node.
    forwards_sent,
    /// Requests of other nodes that were answered here.
    forwards_served,
    /// Queries that were answered linearizably here.
    reads_confirmed,
    /// Rounds to a quorum for linearizable queries.
    read_rounds,
    /// Queries that were answered from this replica's state without a confirmation.
    reads_stale,
    /// Snapshots that this replica built.
    snapshots_built,
    /// Snapshots that were received and installed.
    snapshots_installed,
    /// Messages of peers that could not be read.
    malformed_messages,
    /// Requests to other replicas that ask whether they would vote for this one, which misses its leader.
    pre_votes_asked,
    /// Elections that this replica began with the consent of a quorum.
    elections_begun,
    /// Violations of an invariant. Each one halts the replica.
    invariant_violations,
}

pub(crate) fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
