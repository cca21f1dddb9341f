//! What verification can find.

use std::collections::BTreeMap;

use serde::Serialize;

/// What was checked. The name is stable: it is in the JSON report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// A change cannot be understood: a field is missing, unknown or contradicts another.
    Malformed,
    /// Sequence numbers are missing: changes are lost.
    Lost,
    /// A sequence number came again, or after a later one.
    OutOfSequence,
    /// The changes of an entry are not complete, or disagree about it.
    SplitEntry,
    /// The log's index does not grow from entry to entry.
    LogIndexWentBack,
    /// Log time is earlier than before.
    LogTimeWentBack,
    /// An after-image is not what was there before plus the delta.
    WrongAfterImage,
    /// A bucket holds less than nothing.
    Negative,
    /// `on_hand = free + pools + safety + held + committed + damaged + quality_hold - deficit - backordered` does not hold.
    Unbalanced,
    /// More units are promised than there are.
    Oversold,
    /// A deficit was raised by something else than a count.
    DeficitRaised,
    /// Stock can be sold while a deficit is open.
    SellableInDeficit,
    /// Stock is free while units are backordered.
    FreeInBackorder,
    /// A change moves buckets or quantities that its kind does not move.
    WrongMovement,
    /// `on_hand` is not what came in minus what left.
    WrongFlow,
    /// A change of a reservation that is not open (it never was, or it is closed).
    NotOpen,
    /// A reservation is in a state that does not allow the change, or the state told is not where its units are.
    WrongState,
    /// More units of a line are moved than it has in that state.
    ExceedsLine,
    /// A reservation, or one of its lines, was granted twice.
    ReservedTwice,
    /// One operation took effect twice.
    OperationTwice,
    /// One id names something in one shard and something else in another: it is not one order over several shards.
    AmbiguousId,
    /// A hold expired before its time.
    ExpiredEarly,
    /// A hold was used after its time.
    UsedAfterExpiry,
    /// More units came back than were shipped.
    ReturnedTooMuch,
    /// An order over several shards is not the same in all of them: held, paid or given back in part.
    TornOrder,
    /// Units of an order over several shards are undecided at the end, or a shard has not followed its home.
    UnsettledOrder,
    /// What is in transit is not what left and has not arrived.
    WrongTransfer,
    /// What cells hold or have promised is not what the open reservations have.
    PromisesDiffer,
    /// Live stock is not what the changes add up to.
    LiveStockDiffers,
}

impl Check {
    /// Its name in reports.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            _ => format!("{self:?}"),
        }
    }
}

/// Something that is not as it has to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which check.
    pub check: Check,
    /// In which shard.
    pub shard: u32,
    /// At which change; 0 when it is about none in particular.
    pub seq: u64,
    /// What is wrong, for a person.
    pub message: String,
}

/// How many findings of one check are kept; the rest is counted.
pub const KEPT_OF_ONE_CHECK: usize = 50;

/// All findings, the first ones of each check in full.
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
