//! Orders over several shards: all or nothing, and the same in all of them.
//!
//! The decisions of each shard wait on disk until all shards are replayed. Then the parts of each order are
//! compared. Parts that do not fit may only be on their way, when the streams were read one after the other
//! from a running cluster. Such orders stay in memory, are [followed](Orders::follow), and are judged at the
//! end.

use std::collections::BTreeMap;

use holdfast_api::v1::{Change, ChangeKind};

use super::finding::Findings;
use super::operations::number;
use super::spill::Spill;
use super::step::{Effect, Id, Step};

mod judge;

/// One shard's decision on one order, as its change stream reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Decision {
    id: Id,
    shard: u32,
    seq: u64,
    log_index: u64,
    log_time_ms: u64,
    home: u32,
    kind: DecisionKind,
    operation: Option<Id>,
    /// True when a prepared line got less than it asked for, so the order takes what it gets.
    is_short: bool,
    /// The line of the order whose units the decision concerns.
    line: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecisionKind {
    Prepared,
    Confirmed,
    Committed,
    Released,
    Expired,
    Aborted,
}

const KEY: usize = 16;
/// The size of a record: the key, the shard, the change, its entry's index and time, the home, the operation,
/// the kind, whether it is short, and the line.
const RECORD: usize = KEY + 4 + 8 + 8 + 8 + 4 + 16 + 1 + 1 + 4;

/// The counts of orders over several shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct OrdersReport {
    /// The number of orders, held or not.
    pub orders: u64,
    /// The number of parts: one for each shard that had units of the order or decided about it.
    pub parts: u64,
    /// The number of parts with units that are taken and undecided at the end.
    pub prepared: u64,
    /// The number of orders that are not judged, although their parts do not fit together. They were decided
    /// so shortly before the end of an archived stream that the rest may come after it, because the shards of
    /// an archive end at different moments.
    pub not_judged: u64,
}

/// An order that is not settled in the changes replayed so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsettled {
    /// The reservation of the order.
    pub reservation_id: [u8; 16],
    /// The shards that may have later changes of it, each with the last known change.
    pub shards: Vec<(u32, u64)>,
}

/// The end of each replayed shard: its last change and log time.
pub(super) type Ends = BTreeMap<u32, (u64, u64)>;

#[derive(Debug)]
pub(super) struct Orders {
    decisions: Option<Spill<KEY, RECORD>>,
    /// Orders that do not fit together, or not yet, by id and home. Two orders may have been sent under one
    /// id.
    unsettled: BTreeMap<(Id, u32), Vec<Decision>>,
    settled: OrdersReport,
    pub(super) ends: Ends,
    /// How long before a stream's end an order may be on its way, in milliseconds.
    pub(super) in_flight_ms: Option<u64>,
}

impl Orders {
    pub(super) fn new() -> Self {
        Self {
            decisions: Some(Spill::new()),
            unsettled: BTreeMap::new(),
            settled: OrdersReport::default(),
            ends: Ends::new(),
            in_flight_ms: None,
        }
    }

    pub(super) fn observe(&mut self, decision: &Decision) -> std::io::Result<()> {
        match &mut self.decisions {
            Some(decisions) => decisions.push(&decision.record()),
            None => Ok(()),
        }
    }

    /// Returns the orders that are not settled. No shard may be begun afterwards.
    pub(super) fn unsettled(&mut self) -> std::io::Result<Vec<Unsettled>> {
        if let Some(decisions) = self.decisions.take() {
            decisions.drain(|records| {
                for records in records.chunk_by(|a, b| a[..KEY] == b[..KEY]) {
                    let mut by_home: BTreeMap<u32, Vec<Decision>> = BTreeMap::new();
                    for decision in records.iter().map(Decision::read) {
                        by_home.entry(decision.home).or_default().push(decision);
                    }
                    for (home, order) in by_home {
                        if judge::faults(&order, &self.ends).is_empty() {
                            self.settled.add(&order);
                        } else {
                            self.unsettled.insert((order[0].id, home), order);
                        }
                    }
                }
            })?;
        }
        let unsettled = self.unsettled.values().map(|order| self.to_follow(order));
        Ok(unsettled.collect())
    }

    fn to_follow(&self, order: &[Decision]) -> Unsettled {
        let mut shards: BTreeMap<u32, u64> = BTreeMap::new();
        for shard in order.iter().flat_map(|decision| [decision.shard, decision.home]) {
            if let Some((last_seq, _)) = self.ends.get(&shard) {
                shards.insert(shard, *last_seq);
            }
        }
        for decision in order {
            shards
                .entry(decision.shard)
                .and_modify(|seq| *seq = decision.seq.max(*seq));
        }
        Unsettled {
            reservation_id: order[0].id,
            shards: shards.into_iter().collect(),
        }
    }

    /// Takes a later change of an unsettled order.
    pub(super) fn follow(&mut self, change: &Change) {
        let Ok(step) = Step::of(change) else { return };
        let Some(effect) = step.reservation else { return };
        let Some(home) = effect.home else { return };
        let Some(order) = self.unsettled.get_mut(&(effect.id, home)) else {
            return;
        };
        let is_known = |known: &Decision| known.shard == change.shard && known.seq >= change.seq;
        let is_replayed = self
            .ends
            .get(&change.shard)
            .is_none_or(|(last_seq, _)| change.seq <= *last_seq);
        if is_replayed || order.iter().any(is_known) {
            return;
        }
        let is_short = effect.quantity < effect.requested;
        order.extend(Decision::of(
            &effect,
            (step.kind, step.operation, is_short),
            (change.shard, change.seq, change.log_index, change.log_time_ms),
        ));
        order.sort_by_key(|decision| (decision.shard, decision.seq));
        if judge::faults(order, &self.ends).is_empty() {
            self.settled.add(order);
            self.unsettled.remove(&(effect.id, home));
        }
    }

    /// Reports the orders that are not settled.
    pub(super) fn finish(mut self, findings: &mut Findings) -> std::io::Result<OrdersReport> {
        self.unsettled()?;
        for order in self.unsettled.values() {
            self.settled.add(order);
            let faults = judge::faults(order, &self.ends);
            if self.may_be_in_flight(order) {
                self.settled.not_judged += u64::from(!faults.is_empty());
                continue;
            }
            for (check, shard, seq, message) in faults {
                let id = uuid::Uuid::from_bytes(order[0].id);
                findings.add(check, shard, seq, || format!("order {id}: {message}"));
            }
        }
        Ok(self.settled)
    }

    /// Returns whether a stream ends so soon after the order's last decision that the rest may come after the
    /// end.
    fn may_be_in_flight(&self, order: &[Decision]) -> bool {
        let Some(in_flight_ms) = self.in_flight_ms else {
            return false;
        };
        let last_ms = order.iter().map(|decision| decision.log_time_ms).max();
        let concerned = order.iter().flat_map(|decision| [decision.shard, decision.home]);
        let first_end_ms = concerned.filter_map(|shard| Some(self.ends.get(&shard)?.1)).min();
        first_end_ms.unwrap_or(0) < last_ms.unwrap_or(0).saturating_add(in_flight_ms)
    }
}

impl OrdersReport {
    fn add(&mut self, order: &[Decision]) {
        self.orders += 1;
        for part in order.chunk_by(|a, b| a.shard == b.shard) {
            self.parts += 1;
            let is_prepared = part
                .last()
                .is_some_and(|last| last.kind == DecisionKind::Prepared);
            self.prepared += u64::from(is_prepared);
        }
    }
}

impl Decision {
    /// Makes the decision of a change. Returns None when the change decides nothing about an order over
    /// several shards.
    pub(super) fn of(
        effect: &Effect,
        (kind, operation, is_short): (ChangeKind, Option<Id>, bool),
        (shard, seq, log_index, log_time_ms): (u32, u64, u64, u64),
    ) -> Option<Self> {
        let kind = match kind {
            ChangeKind::Prepared => DecisionKind::Prepared,
            ChangeKind::Confirmed => DecisionKind::Confirmed,
            ChangeKind::Committed => DecisionKind::Committed,
            ChangeKind::Released => DecisionKind::Released,
            ChangeKind::Expired => DecisionKind::Expired,
            ChangeKind::Aborted => DecisionKind::Aborted,
            _ => return None,
        };
        Some(Self {
            id: effect.id,
            shard,
            seq,
            log_index,
            log_time_ms,
            home: effect.home?,
            kind,
            operation,
            is_short,
            line: effect.line,
        })
    }

    fn record(&self) -> [u8; RECORD] {
        let mut record = [0; RECORD];
        let fields: [&[u8]; 10] = [
            &self.id,
            &self.shard.to_be_bytes(),
            &self.seq.to_be_bytes(),
            &self.log_index.to_be_bytes(),
            &self.log_time_ms.to_be_bytes(),
            &self.home.to_be_bytes(),
            // An id of zeros is not the UUID of an operation.
            &self.operation.unwrap_or_default(),
            &[self.kind as u8],
            &[u8::from(self.is_short)],
            &self.line.to_be_bytes(),
        ];
        let mut at = 0;
        for field in fields {
            record[at..at + field.len()].copy_from_slice(field);
            at += field.len();
        }
        record
    }

    fn read(record: &[u8; RECORD]) -> Self {
        let mut rest = &record[..];
        let mut next = |length: usize| {
            let (field, behind) = rest.split_at(length);
            rest = behind;
            field
        };
        let id = |bytes: &[u8]| bytes.try_into().unwrap_or_default();
        Self {
            id: id(next(16)),
            shard: number(next(4)) as u32,
            seq: number(next(8)),
            log_index: number(next(8)),
            log_time_ms: number(next(8)),
            home: number(next(4)) as u32,
            operation: Some(id(next(16))).filter(|id: &Id| *id != Id::default()),
            kind: DecisionKind::read(next(1)[0]),
            is_short: next(1)[0] != 0,
            line: number(next(4)) as u32,
        }
    }
}

impl DecisionKind {
    /// Reads the kind from its number in a record.
    fn read(number: u8) -> Self {
        const ALL: [DecisionKind; 6] = [
            DecisionKind::Prepared,
            DecisionKind::Confirmed,
            DecisionKind::Committed,
            DecisionKind::Released,
            DecisionKind::Expired,
            DecisionKind::Aborted,
        ];
        ALL[usize::from(number).min(ALL.len() - 1)]
    }

    fn name(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Confirmed => "held",
            Self::Committed => "committed",
            Self::Released => "released",
            Self::Expired => "expired",
            Self::Aborted => "aborted",
        }
    }
}
