//! Metrics of the replicas on this node, and of the clocks that they hear of. They are read from the shards
//! whenever the metrics are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use holdfast_shard::{ReplicaStatus, Role, ShardHandle, ShardMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{PeerLabels, ShardLabels, consumers};
use crate::clock::wall_clock_ms;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RoleLabels {
    shard: u32,
    role: &'static str,
}

struct GaugeOf<T>(&'static str, &'static str, fn(&T) -> u64);

const REPLICA_GAUGES: [GaugeOf<ReplicaStatus>; 21] = [
    GaugeOf(
        "replica_leads",
        "1 where this replica leads its shard, else 0",
        |s| u64::from(s.role == Role::Leader),
    ),
    GaugeOf(
        "replica_halted",
        "1 where the replica's ledger stands still before an entry that it cannot apply, else 0",
        |s| u64::from(s.halted.is_some()),
    ),
    GaugeOf(
        "replica_rules",
        "The version of the rules by which the replica's ledger decides",
        |s| u64::from(s.rules),
    ),
    GaugeOf(
        "replica_leader_node",
        "The id of the node that leads the shard, as far as this node knows; 0 where unknown",
        |s| s.leader.unwrap_or(0),
    ),
    GaugeOf("replica_voters", "The number of replicas that have a vote", |s| {
        s.voters.len() as u64
    }),
    GaugeOf("replica_term", "The Raft term of the replica", |s| s.term),
    GaugeOf(
        "replica_last_log_index",
        "The index of the last entry in the replica's log",
        |s| s.last_log_index,
    ),
    GaugeOf(
        "replica_committed_index",
        "The index of the last entry that is known to be committed",
        |s| s.committed_index,
    ),
    GaugeOf(
        "replica_applied_index",
        "The index of the last entry that was applied",
        |s| s.applied_index,
    ),
    GaugeOf(
        "replica_snapshot_index",
        "The index of the last entry in the newest snapshot",
        |s| s.snapshot_index,
    ),
    GaugeOf(
        "replica_change_seq",
        "The sequence number of the last change",
        |s| s.last_seq,
    ),
    GaugeOf("replica_cells", "Cells", |s| s.cells),
    GaugeOf(
        "replica_live_reservations",
        "Reservations that are held or committed",
        |s| s.live_reservations,
    ),
    GaugeOf(
        "replica_unsettled_orders",
        "Orders over several shards that are decided here and that a participant has not followed yet",
        |s| s.unsettled_orders,
    ),
    GaugeOf(
        "replica_prepared_reservations",
        "Reservations that wait for the decision of an order over several shards",
        |s| s.prepared_reservations,
    ),
    GaugeOf(
        "replica_oldest_prepared_ms",
        "Log time of the oldest such reservation; 0 when there is none",
        |s| s.oldest_prepared_ms,
    ),
    GaugeOf("replica_deficit_cells", "Cells with a deficit", |s| {
        s.deficit_cells
    }),
    GaugeOf(
        "replica_deficit_units",
        "Units that were promised and that a count did not find",
        |s| s.deficit_units,
    ),
    GaugeOf(
        "replica_first_change",
        "The sequence number of the oldest change that the replica can serve",
        |s| s.first_seq,
    ),
    GaugeOf(
        "shard_waiting_commands",
        "Commands that wait here for the leader to propose them or to answer them from a read",
        |s| s.waiting_commands,
    ),
    GaugeOf(
        "replica_log_time_ms",
        "Log time of the replica, in milliseconds since the Unix epoch",
        |s| s.log_time_ms,
    ),
];

const SHARD_COUNTERS: [GaugeOf<ShardMetrics>; 20] = [
    GaugeOf(
        "shard_commands_submitted",
        "Commands that callers on this node submitted",
        |m| m.commands_submitted,
    ),
    GaugeOf(
        "shard_commands_proposed",
        "Commands proposed by this replica as the leader",
        |m| m.commands_proposed,
    ),
    GaugeOf(
        "shard_entries_proposed",
        "Entries proposed by this replica as the leader",
        |m| m.entries_proposed,
    ),
    GaugeOf(
        "shard_time_entries_proposed",
        "Empty entries that were proposed so that log time goes on",
        |m| m.time_entries_proposed,
    ),
    GaugeOf("shard_commands_applied", "Commands applied", |m| {
        m.commands_applied
    }),
    GaugeOf("shard_entries_applied", "Entries applied", |m| m.entries_applied),
    GaugeOf(
        "shard_refused_from_read",
        "Commands that were answered from a confirmed read",
        |m| m.refused_from_read,
    ),
    GaugeOf(
        "shard_commands_overloaded",
        "Commands that were refused because the queue was full",
        |m| m.commands_overloaded,
    ),
    GaugeOf(
        "shard_outcomes_unknown",
        "Commands whose outcome stayed unknown",
        |m| m.outcomes_unknown,
    ),
    GaugeOf(
        "shard_forwards_sent",
        "Requests sent to the leader on another node",
        |m| m.forwards_sent,
    ),
    GaugeOf(
        "shard_forwards_served",
        "Requests of other nodes that were answered here",
        |m| m.forwards_served,
    ),
    GaugeOf(
        "shard_reads_confirmed",
        "Linearizable queries that were answered",
        |m| m.reads_confirmed,
    ),
    GaugeOf(
        "shard_read_rounds",
        "Rounds to a quorum that confirmed linearizable queries",
        |m| m.read_rounds,
    ),
    GaugeOf(
        "shard_reads_stale",
        "Stale queries, which were answered from the replica as it was",
        |m| m.reads_stale,
    ),
    GaugeOf("shard_snapshots_built", "Snapshots built", |m| m.snapshots_built),
    GaugeOf(
        "shard_snapshots_installed",
        "Snapshots that were received and installed",
        |m| m.snapshots_installed,
    ),
    GaugeOf(
        "shard_malformed_messages",
        "Messages of peers that could not be read",
        |m| m.malformed_messages,
    ),
    GaugeOf(
        "shard_pre_votes_asked",
        "Questions of this replica, which missed its leader, to others whether they would vote for it",
        |m| m.pre_votes_asked,
    ),
    GaugeOf(
        "shard_elections_begun",
        "Elections that the replica began with the consent of a quorum",
        |m| m.elections_begun,
    ),
    GaugeOf(
        "shard_invariant_violations",
        "Entries that broke an invariant of the ledger",
        |m| m.invariant_violations,
    ),
];

struct AgeOf(&'static str, &'static str, fn(&ReplicaStatus, u64) -> u64);

/// Ages in milliseconds, by the wall clock that the functions get. They are shown in seconds.
const REPLICA_AGES: [AgeOf; 2] = [
    AgeOf(
        "replica_oldest_prepared_age",
        "How long the oldest reservation has waited for the decision of an order over several shards; 0 when none waits",
        |s, now_ms| match s.oldest_prepared_ms {
            0 => 0,
            since_ms => now_ms.saturating_sub(since_ms),
        },
    ),
    AgeOf(
        "replica_log_time_ahead",
        "How far log time is ahead of this node's wall clock; 0 when it is not ahead",
        |s, now_ms| s.log_time_ms.saturating_sub(now_ms),
    ),
];

struct NodeGauge(&'static str, &'static str, fn(&ReplicaStatus) -> bool);

/// Counts of this node's replicas for which a condition holds.
const NODE_GAUGES: [NodeGauge; 2] = [
    NodeGauge("replicas", "Replicas that run on this node", |s| {
        s.role != Role::Stopped
    }),
    NodeGauge("leaders", "Shards that this node leads", |s| {
        s.role == Role::Leader
    }),
];

/// Returns by how much each known clock is ahead of the median of all, this node's included. With fewer than
/// three clocks nobody can say which one is wrong. Then it returns by how much the other clocks are ahead of
/// this node's.
fn from_median_ms(own_id: Option<u64>, ahead_ms: BTreeMap<u64, i64>) -> BTreeMap<u64, i64> {
    let mut sorted: Vec<i64> = ahead_ms.values().copied().chain([0]).collect();
    sorted.sort_unstable();
    match own_id {
        Some(own_id) if sorted.len() >= 3 => {
            let median_ms = sorted[sorted.len() / 2];
            let clocks = ahead_ms.into_iter().chain([(own_id, 0)]);
            clocks
                .map(|(id, ms)| (id, ms.saturating_sub(median_ms)))
                .collect()
        }
        _ => ahead_ms,
    }
}

/// Returns, for each peer, the largest clock skew that any replica of this node knows.
fn clock_skew_ms(shards: &[ShardHandle]) -> BTreeMap<u64, i64> {
    let mut largest: BTreeMap<u64, i64> = BTreeMap::new();
    for (peer, skew_ms) in shards.iter().flat_map(ShardHandle::clock_skew_ms) {
        let known = largest.entry(peer).or_default();
        if skew_ms.unsigned_abs() > known.unsigned_abs() {
            *known = skew_ms;
        }
    }
    largest
}

/// Reads the state of the replicas whenever the metrics are read.
pub(super) struct Replicas {
    pub(super) shards: Arc<[ShardHandle]>,
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas")
            .field("shards", &self.shards.len())
            .finish()
    }
}

impl Collector for Replicas {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let all: Vec<(ReplicaStatus, ShardMetrics)> = self
            .shards
            .iter()
            .map(|shard| (shard.status(), shard.metrics()))
            .collect();
        // A shard without a replica on this node has only counters.
        let replicas: Vec<_> = all
            .iter()
            .filter(|(status, _)| status.role != Role::Absent)
            .collect();

        let gauge = ConstGauge::new(1_i64);
        let mut family = encoder.encode_descriptor(
            "replica_role",
            "The role of the replica",
            None,
            gauge.metric_type(),
        )?;
        for (status, _) in &replicas {
            let labels = RoleLabels {
                shard: status.shard,
                role: status.role.as_str(),
            };
            gauge.encode(family.encode_family(&labels)?)?;
        }
        for GaugeOf(name, help, value) in REPLICA_GAUGES {
            let mut family = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            for (status, _) in &replicas {
                let value = ConstGauge::new(i64::try_from(value(status)).unwrap_or(i64::MAX));
                value.encode(family.encode_family(&ShardLabels { shard: status.shard })?)?;
            }
        }
        let now_ms = wall_clock_ms();
        for AgeOf(name, help, age_ms) in REPLICA_AGES {
            let unit = Some(&Unit::Seconds);
            let mut family = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
            for (status, _) in &replicas {
                let seconds = ConstGauge::new(age_ms(status, now_ms) as f64 / 1e3);
                seconds.encode(family.encode_family(&ShardLabels { shard: status.shard })?)?;
            }
        }
        consumers::encode(&self.shards, &mut encoder)?;
        for NodeGauge(name, help, counts) in NODE_GAUGES {
            let count = replicas.iter().filter(|(status, _)| counts(status)).count();
            let count = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            count.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let mut family = encoder.encode_descriptor(
            "clock_skew_ms",
            "By how much a node's wall clock is ahead of the median of those heard here, with fewer than three of this node's; negative when it is behind",
            None,
            gauge.metric_type(),
        )?;
        let own_id = replicas.first().map(|(status, _)| status.node_id);
        for (peer, skew_ms) in from_median_ms(own_id, clock_skew_ms(&self.shards)) {
            ConstGauge::new(skew_ms).encode(family.encode_family(&PeerLabels { peer })?)?;
        }
        for GaugeOf(name, help, value) in SHARD_COUNTERS {
            let kind = ConstCounter::new(0_u64).metric_type();
            let mut family = encoder.encode_descriptor(name, help, None, kind)?;
            for (status, metrics) in &all {
                let labels = ShardLabels { shard: status.shard };
                ConstCounter::new(value(metrics)).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_clock_is_named_by_its_own_node_too() {
        let heard_by_3 = BTreeMap::from([(1, 2_000), (2, 2_003)]);
        let told = from_median_ms(Some(3), heard_by_3);
        assert_eq!(told, BTreeMap::from([(1, 0), (2, 3), (3, -2_000)]));
        let heard_by_1 = BTreeMap::from([(2, 3), (3, -2_000)]);
        assert_eq!(
            from_median_ms(Some(1), heard_by_1),
            BTreeMap::from([(1, 0), (2, 3), (3, -2_000)])
        );
        let of_two = BTreeMap::from([(2, 700)]);
        assert_eq!(from_median_ms(Some(1), of_two.clone()), of_two);
    }
}
