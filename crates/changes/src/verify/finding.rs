//! The faults that verification can find.

use std::collections::BTreeMap;

use serde::Serialize;

/// The kinds of checks. The name is stable, because it is in the JSON report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A change cannot be understood: a field is missing or unknown, or contradicts another field.
    Malformed,
    /// Sequence numbers are missing: changes are lost.
    Lost,
    /// A sequence number came again, or after a later one.
    OutOfSequence,
    /// The changes of an entry are incomplete, or disagree about it.
    SplitEntry,
    /// The log's index does not grow from entry to entry.
    LogIndexWentBack,
    /// Log time is earlier than in the entry before.
    LogTimeWentBack,
    /// An after-image is not the units before plus the delta.
    WrongAfterImage,
    /// A bucket has fewer than 0 units.
    Negative,
    /// The equation `on_hand = free + pools + safety + held + committed + damaged + quality_hold - deficit -
    /// backordered` does not hold.
    Unbalanced,
    /// More units are promised than exist.
    Oversold,
    /// A deficit was raised by a change that is not a count.
    DeficitRaised,
    /// Stock can be sold while a deficit is open.
    SellableInDeficit,
    /// Stock is free while units are backordered.
    FreeInBackorder,
    /// A change moves buckets or quantities that its kind may not move.
    WrongMovement,
    /// `on_hand` is not the units that came in minus those that left.
    WrongFlow,
    /// A change of a reservation that is not open: it never existed, or it is closed.
    NotOpen,
    /// A reservation is in a state that does not allow the change, or its reported state does not match the
    /// places of its units.
    WrongState,
    /// More units of a line are moved than it has in that state.
    ExceedsLine,
    /// A reservation, or one of its lines, was granted twice.
    ReservedTwice,
    /// One operation took effect twice.
    OperationTwice,
    /// One id names different things in two shards, which are not one order over several shards.
    AmbiguousId,
    /// A hold expired before its time.
    ExpiredEarly,
    /// A hold was used after its time.
    UsedAfterExpiry,
    /// More units came back than were shipped.
    ReturnedTooMuch,
    /// An order over several shards is not the same in all of them: it is held, paid or given back only in
    /// part.
    TornOrder,
    /// Units of an order over several shards are undecided at the end, or a shard has not followed the home.
    UnsettledOrder,
    /// The units in transit are not the units that left and have not arrived.
    WrongTransfer,
    /// The units that cells hold or have promised are not those of the open reservations.
    PromisesDiffer,
    /// Live stock is not the sum of the changes.
    LiveStockDiffers,
}

impl Check {
    /// Returns its name in reports.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }
}

/// One fault that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that found it.
    pub check: Check,
    /// The shard of the fault.
    pub shard: u32,
    /// The change of the fault; 0 when it concerns no change in particular.
    pub seq: u64,
    /// A description of the fault for a person.
    pub message: String,
}

/// The most findings of one check that are kept. The others are only counted.
pub const KEPT_OF_ONE_CHECK: usize = 50;

/// All findings. The first ones of each check are kept in full.
#[derive(Debug, Default)]
pub(super) struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Check, u64>,
}

impl Findings {
    pub(super) fn add(&mut self, check: Check, shard: u32, seq: u64, message: impl FnOnce() -> String) {
        let count = self.counts.entry(check).or_default();
        *count += 1;
        if *count <= KEPT_OF_ONE_CHECK as u64 {
            self.kept.push(Finding {
                check,
                shard,
                seq,
                message: message(),
            });
        }
    }

    pub(super) fn into_parts(mut self) -> (Vec<Finding>, BTreeMap<Check, u64>) {
        self.kept
            .sort_by_key(|finding| (finding.shard, finding.seq, finding.check));
        (self.kept, self.counts)
    }
}
