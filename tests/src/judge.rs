//! The judge of a history: can all the answers to clients be true? The same functions judge the simulation
//! ([`holdfast_check`]).
//!
//! - The change streams of all nodes are the same, without a gap, and add up ([`streams`]).
//! - What was acknowledged is there, once, where the answer said. What was said to have had no effect has
//!   none.
//! - No operation takes effect before what was known when it was requested, and no read misses it.
//! - For each SKU that [`probes`](crate::probes) fought over, some order of all their operations explains all
//!   their answers.

pub mod streams;
mod whole;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use holdfast_check::{Floors, Sees, StockEvent, is_linearizable};

use crate::history::{At, Operation, Recorded, Told, What};

pub use whole::ensure_holds;

/// The places where each operation took effect, by its id.
pub type Effects = HashMap<Bytes, BTreeSet<At>>;

/// Counts of what was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Operations whose answers agree with the change streams.
    pub operations: u64,
    /// Number of these operations that were refused, and then granted by an attempt that was still under way
    /// (decision 0001).
    pub granted_after_refusal: u64,
    /// Reads that miss nothing that was known before.
    pub reads: u64,
    /// Events of single SKUs for which an order was found.
    pub linearized: u64,
}

/// Judges a history by the places where its operations took effect.
///
/// # Errors
/// Everything that cannot be true.
pub fn judge(recorded: &Recorded, effects: &Effects) -> Result<Judged, Vec<String>> {
    let mut judged = Judged::default();
    let mut wrong = Vec::new();
    let nowhere = BTreeSet::new();
    for operation in &recorded.operations {
        let effects = effects.get(&operation.id).unwrap_or(&nowhere);
        match agrees(operation, effects) {
            Ok(()) => judged.operations += 1,
            Err(what) => wrong.push(format!("{what}: {operation:?}, effects {effects:?}")),
        }
        let refused = matches!(operation.told, Told::Short(_) | Told::Refused);
        judged.granted_after_refusal += u64::from(refused && !effects.is_empty());
    }
    in_time(recorded, effects, &mut judged, &mut wrong);
    for (sku, events) in events(recorded, effects) {
        judged.linearized += events.len() as u64;
        if !is_linearizable(&events) {
            wrong.push(format!("no order explains what clients saw of {sku}"));
        }
    }
    match wrong.is_empty() {
        true => Ok(judged),
        false => Err(wrong),
    }
}

/// Checks that an answer agrees with the places where its operation took effect.
fn agrees(operation: &Operation, effects: &BTreeSet<At>) -> Result<(), &'static str> {
    // An order over several shards leaves traces in each of them.
    if operation.what != What::Order && effects.len() > 1 {
        return Err("took effect twice");
    }
    match &operation.told {
        Told::Granted(at) if !effects.contains(at) => Err("acknowledged and not there"),
        Told::Unavailable if !effects.is_empty() => Err("promised to have no effect, and has one"),
        _ => Ok(()),
    }
}

/// Checks that what began later misses nothing that was known.
fn in_time(recorded: &Recorded, effects: &Effects, judged: &mut Judged, wrong: &mut Vec<String>) {
    let mut known: BTreeMap<u32, Vec<(u64, u64)>> = BTreeMap::new();
    for operation in &recorded.operations {
        if let Told::Granted(at) = operation.told {
            let of_shard = known.entry(at.shard).or_default();
            of_shard.push((operation.answered_us, at.log_index));
        }
    }
    for read in &recorded.reads {
        let of_shard = known.entry(read.at.shard).or_default();
        of_shard.push((read.answered_us, read.at.log_index));
    }
    let floors: BTreeMap<u32, Floors> = known
        .into_iter()
        .map(|(shard, known)| (shard, Floors::new(known)))
        .collect();
    let floor = |shard: u32, at_us: u64| floors.get(&shard).map_or(0, |floors| floors.before(at_us));
    for operation in &recorded.operations {
        let told = match operation.told {
            Told::Granted(at) => Some(at),
            _ => None,
        };
        let effects = effects.get(&operation.id).into_iter().flatten().copied();
        for at in effects.chain(told) {
            let floor = floor(at.shard, operation.invoked_us);
            if at.log_index <= floor {
                wrong.push(format!(
                    "entry {floor} was known before this began, which took effect at {}: {operation:?}",
                    at.log_index
                ));
            }
        }
    }
    for read in &recorded.reads {
        let floor = floor(read.at.shard, read.invoked_us);
        match read.at.log_index < floor {
            true => wrong.push(format!(
                "entry {floor} was known before, and is missed by {read:?}"
            )),
            false => judged.reads += 1,
        }
    }
}

/// Returns what was done to each single SKU. The streams show which of the unanswered operations took effect.
fn events<'a>(recorded: &'a Recorded, effects: &Effects) -> BTreeMap<&'a str, Vec<StockEvent>> {
    let mut events: BTreeMap<&str, Vec<StockEvent>> = BTreeMap::new();
    let ends = recorded.operations.iter().map(|operation| operation.answered_us);
    let reads_end = recorded.reads.iter().map(|read| read.answered_us);
    let end = ends.chain(reads_end).max().unwrap_or(0) + 1;
    for operation in &recorded.operations {
        let (sku, delta, sees) = match &operation.what {
            What::Order => continue,
            What::Receive { sku, quantity } | What::Release { sku, quantity } => {
                (sku, *quantity, Sees::Nothing)
            }
            What::Reserve { sku, quantity } => (sku, -quantity, Sees::AtLeast(*quantity)),
        };
        let of_sku = events.entry(sku).or_default();
        let mut happened = |answered_us: u64, delta: i64, sees: Sees| {
            of_sku.push(StockEvent {
                invoked_at: operation.invoked_us,
                answered_at: Some(answered_us),
                delta,
                sees,
            });
        };
        if let Told::Short(free) = operation.told {
            happened(operation.answered_us, 0, Sees::Exactly(free));
        }
        match operation.told {
            Told::Granted(_) => happened(operation.answered_us, delta, sees),
            // It took effect at some time after it was sent.
            _ if effects.contains_key(&operation.id) => happened(end, delta, sees),
            _ => {}
        }
    }
    for read in &recorded.reads {
        events.entry(&read.sku).or_default().push(StockEvent {
            invoked_at: read.invoked_us,
            answered_at: Some(read.answered_us),
            delta: 0,
            sees: Sees::Exactly(read.free),
        });
    }
    events
}

#[cfg(test)]
mod tests;
