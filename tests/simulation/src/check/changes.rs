//! The change stream has no gap and no duplicate. It is the same on every node and for every reader, and
//! it adds up to the stock.

use std::collections::BTreeMap;

use holdfast_check::{Differs, Sums, first_gap};
use holdfast_ledger::{Bucket, CellView, Change, Query, QueryReply, Sku, WarehouseId};

use super::{Checked, Replayed};

/// The state of one node in the end.
#[derive(Debug, Clone)]
pub struct Kept {
    /// Change log of the node.
    pub changes: Vec<Change>,
    /// First change in the change log.
    pub first_seq: u64,
    /// Last change that the node says it has.
    pub last_seq: u64,
    /// Digest of the node's ledger.
    pub digest: [u8; 32],
}

pub(super) fn check(
    replayed: &Replayed,
    tailed: &BTreeMap<u64, Change>,
    kept: &BTreeMap<u64, Kept>,
    checked: &mut Checked,
    wrong: &mut Vec<String>,
) {
    let expected = &replayed.changes;
    if let Some(gap) = first_gap(1, expected.iter().map(|change| change.seq)) {
        wrong.push(format!("change {} comes as number {}", gap.found, gap.expected));
        return;
    }
    let differs = |change: &Change| {
        let place = usize::try_from(change.seq.wrapping_sub(1)).unwrap_or(usize::MAX);
        expected.get(place) != Some(change)
    };
    if let Some(change) = tailed.values().find(|change| differs(change)) {
        wrong.push(format!(
            "readers got a change that the log does not make: {change:?}"
        ));
    }
    checked.changes += tailed.len() as u64;
    for (node, kept) in kept {
        if kept.digest != replayed.ledger.digest() {
            wrong.push(format!("the ledger of node {node} is not that of the log"));
        }
        if kept.last_seq != expected.len() as u64 {
            wrong.push(format!(
                "node {node} has changes up to {} of {}",
                kept.last_seq,
                expected.len()
            ));
        }
        if let Some(change) = kept.changes.iter().find(|change| differs(change)) {
            wrong.push(format!(
                "node {node} keeps a change that the log does not make: {change:?}"
            ));
        }
        // A snapshot is taken only after the changes before it, so every replica keeps all of them.
        if kept.first_seq != 1 {
            wrong.push(format!(
                "the changes of node {node} begin at {}: those before are lost",
                kept.first_seq
            ));
        }
        if let Some(gap) = first_gap(kept.first_seq, kept.changes.iter().map(|change| change.seq)) {
            wrong.push(format!(
                "node {node} keeps change {} where {} belongs: a gap or a duplicate",
                gap.found, gap.expected
            ));
        }
        if kept.changes.last().map_or(0, |change| change.seq) != kept.last_seq {
            wrong.push(format!(
                "node {node} does not keep the change {} that it names as its last",
                kept.last_seq
            ));
        }
        checked.changes += kept.changes.len() as u64;
    }
    check_sums(replayed, wrong);
}

type Place = (Sku, WarehouseId, Bucket);

/// Adds up the changes and compares the sums with the cells.
fn check_sums(replayed: &Replayed, wrong: &mut Vec<String>) {
    let mut sums: Sums<Place> = Sums::default();
    for change in &replayed.changes {
        let (Some(sku), Some(warehouse)) = (&change.sku, &change.warehouse) else {
            continue;
        };
        for moved in &change.moves {
            // The bucket of a pool belongs to one storefront, and this workload has only one storefront.
            let place = (sku.clone(), warehouse.clone(), moved.bucket);
            if let Err(Differs { sum, said }) = sums.moved(place, moved.delta, moved.after) {
                wrong.push(format!("after {sum} units the change says {said}: {change:?}"));
            }
        }
    }
    let all = Query::ListCells {
        after: None,
        limit: 10_000,
    };
    let Ok(QueryReply::Cells(cells)) = replayed.ledger.query(&all) else {
        wrong.push("the cells cannot be listed".into());
        return;
    };
    for cell in cells {
        let sum = |bucket: Bucket| sums.of(&(cell.sku.clone(), cell.warehouse.clone(), bucket));
        let told = [
            sum(Bucket::OnHand),
            sum(Bucket::Free),
            sum(Bucket::Pool),
            sum(Bucket::Safety),
            sum(Bucket::Held),
            sum(Bucket::Committed),
            sum(Bucket::Damaged),
            sum(Bucket::QualityHold),
            sum(Bucket::Deficit),
            sum(Bucket::Backordered),
            sum(Bucket::InTransit),
        ];
        if told != amounts(&cell) {
            wrong.push(format!("the changes add up to {told:?}, not {cell:?}"));
        }
    }
}

fn amounts(cell: &CellView) -> [i64; 11] {
    let pools = cell.pools.iter().map(|pool| pool.quantity).sum();
    [
        cell.on_hand,
        cell.free,
        pools,
        cell.safety,
        cell.held,
        cell.committed,
        cell.damaged,
        cell.quality_hold,
        cell.deficit,
        cell.backordered,
        cell.in_transit,
    ]
}
