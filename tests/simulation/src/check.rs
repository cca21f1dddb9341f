//! Claims that must have held, whatever went wrong. One file for each claim.

mod changes;
mod expiry;
mod linearizable;
mod orders;
mod replay;

use std::collections::BTreeMap;

use holdfast_check::is_linearizable;
use holdfast_ledger::{Change, LedgerOptions};

use crate::history::{History, Operation};
use crate::names::simple_sku;
use crate::record::Record;
use crate::workload::SIMPLE_SKUS;

pub use changes::Kept;
pub use orders::check as orders;
pub(crate) use replay::key_of;
pub use replay::{Key, Replayed};

/// Counts of what was checked.
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked {
    /// Answers to operations compared with the serial replay.
    pub outcomes: u64,
    /// Reads compared with the serial replay.
    pub reads: u64,
    /// Operations whose answers promised that they had no effect, and that had none.
    pub without_effect: u64,
    /// Events of single SKUs for which an order was found.
    pub linearized: u64,
    /// Holds that ran out, and did not run out before the promised log time.
    pub expiries: u64,
    /// Expiries that were also checked against the true time.
    pub true_expiries: u64,
    /// Orders over several shards that were either whole or missing.
    pub orders: u64,
    /// Changes that were the same wherever they were read.
    pub changes: u64,
}

/// Checks one shard. `kept` is what each node's change log and ledger hold in the end.
///
/// # Errors
/// Everything that did not hold.
pub fn shard(
    shard: u32,
    options: &LedgerOptions,
    record: &Record,
    history: &History,
    kept: &BTreeMap<u64, Kept>,
) -> Result<(Checked, Replayed), Vec<String>> {
    let mut wrong = Vec::new();
    let mut checked = Checked::default();
    let operations: Vec<Operation> = history
        .operations()
        .into_iter()
        .filter(|operation| operation.shard == shard)
        .collect();
    let reads: Vec<_> = history
        .reads()
        .into_iter()
        .filter(|read| read.shard == shard)
        .collect();
    let entries = record.entries(shard);

    let replayed = replay::check(options, &entries, &operations, &reads, &mut checked, &mut wrong);
    expiry::check(record, &entries, &operations, &replayed, &mut checked, &mut wrong);
    let tailed: BTreeMap<u64, Change> = record.changes(shard);
    changes::check(&replayed, &tailed, kept, &mut checked, &mut wrong);
    for number in 0..SIMPLE_SKUS {
        let sku = simple_sku(shard, number);
        let events = linearizable::events(&sku, &operations, &reads);
        checked.linearized += events.len() as u64;
        if !is_linearizable(&events) {
            wrong.push(format!("no order explains what clients saw of {sku}"));
        }
    }
    match wrong.is_empty() {
        true => Ok((checked, replayed)),
        false => Err(wrong
            .into_iter()
            .map(|what| format!("shard {shard}: {what}"))
            .collect()),
    }
}
