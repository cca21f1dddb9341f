//! A batch of changes, added up: the last state of each cell, and how what can be sold moved.

use std::collections::BTreeMap;

use holdfast_api::v1::{Bucket, Cell, Change, StockPolicy};
use holdfast_changes::names;

use super::keys::Keys;
use crate::sink::{Position, SinkError};

/// The effect of consecutive changes of one shard on the view.
#[derive(Debug, Default)]
pub(crate) struct Batch<'a> {
    cells: BTreeMap<(&'a str, &'a str), CellUpdate<'a>>,
    skus: BTreeMap<&'a str, SkuUpdate<'a>>,
    through_seq: u64,
    log_time_ms: u64,
}

#[derive(Debug, Default)]
struct CellUpdate<'a> {
    buckets: BTreeMap<(Bucket, &'a str), i64>,
    seq: u64,
    log_time_ms: u64,
}

#[derive(Debug, Default)]
struct SkuUpdate<'a> {
    free: BTreeMap<&'a str, i64>,
    pools: BTreeMap<(&'a str, &'a str), i64>,
    may_borrow: BTreeMap<&'a str, bool>,
}

/// The keys and arguments of one call of `apply.lua`.
#[derive(Debug, Default)]
pub(crate) struct Call {
    pub(crate) keys: Vec<String>,
    pub(crate) arguments: Vec<String>,
}

impl<'a> Batch<'a> {
    /// Adds up changes, which are in order.
    ///
    /// # Errors
    /// [`SinkError::Unwritable`]: a change names a bucket that this version does not know, or numbers that
    /// do not add up.
    pub(crate) fn of(changes: &'a [Change]) -> Result<Self, SinkError> {
        let mut batch = Self::default();
        for change in changes {
            batch.add(change).map_err(|what| SinkError::Unwritable {
                shard: change.shard,
                seq: change.seq,
                what,
            })?;
        }
        Ok(batch)
    }

    fn add(&mut self, change: &'a Change) -> Result<(), String> {
        self.through_seq = change.seq;
        self.log_time_ms = change.log_time_ms;
        if let Some(policy) = &change.policy {
            let sku = self.skus.entry(&change.sku).or_default();
            sku.may_borrow.insert(&change.storefront, policy.may_borrow);
        }
        if change.sku.is_empty() || change.warehouse.is_empty() {
            return Ok(());
        }
        let cell = self.cells.entry((&change.sku, &change.warehouse)).or_default();
        cell.seq = change.seq;
        cell.log_time_ms = change.log_time_ms;
        for moved in &change.moves {
            let bucket = Bucket::try_from(moved.bucket).unwrap_or_default();
            let storefront = match bucket {
                Bucket::Unspecified => {
                    return Err(format!("bucket {} is not known to this version", moved.bucket));
                }
                Bucket::Pool => change.storefront.as_str(),
                _ => "",
            };
            cell.buckets.insert((bucket, storefront), moved.after);
            let sold = match bucket {
                Bucket::Free => {
                    let sku = self.skus.entry(&change.sku).or_default();
                    sku.free.entry(&change.warehouse).or_default()
                }
                Bucket::Pool => {
                    let sku = self.skus.entry(&change.sku).or_default();
                    sku.pools.entry((storefront, &change.warehouse)).or_default()
                }
                _ => continue,
            };
            *sold = sold
                .checked_add(moved.delta)
                .ok_or("its units do not fit into 64 bits")?;
        }
        Ok(())
    }

    /// Makes the batch that writes whole cells into a view that is empty, as they were at a position.
    pub(crate) fn of_cells(cells: &'a [Cell], at: Position) -> Self {
        let mut batch = Self::default();
        for cell in cells {
            let (sku, warehouse) = (cell.sku.as_str(), cell.warehouse.as_str());
            let update = batch.cells.entry((sku, warehouse)).or_default();
            (update.seq, update.log_time_ms) = (at.through_seq, at.log_time_ms);
            update.buckets = buckets(cell).collect();
            let sold = batch.skus.entry(sku).or_default();
            sold.free.insert(warehouse, cell.free);
            for pool in &cell.pools {
                sold.pools.insert((&pool.storefront, warehouse), pool.quantity);
            }
        }
        batch
    }

    /// Makes the batch that sets stock policies.
    pub(crate) fn of_policies(policies: &'a [StockPolicy]) -> Self {
        let mut batch = Self::default();
        for policy in policies {
            let sku = batch.skus.entry(&policy.sku).or_default();
            sku.may_borrow.insert(&policy.storefront, policy.may_borrow);
        }
        batch
    }

    /// Makes the batch that moves only the position.
    pub(crate) fn of_position(at: Position) -> Self {
        Self {
            through_seq: at.through_seq,
            log_time_ms: at.log_time_ms,
            ..Self::default()
        }
    }

    /// Makes the call of the script that moves a shard from `expected_seq` on.
    pub(crate) fn call(&self, keys: &Keys, shard: u32, cluster: &str, expected_seq: u64) -> Call {
        // Every SKU that has a cell here is named, also if nothing that can be sold moved.
        let nothing = SkuUpdate::default();
        let mut skus: BTreeMap<&str, &SkuUpdate<'_>> =
            self.cells.keys().map(|(sku, _)| (*sku, &nothing)).collect();
        skus.extend(self.skus.iter().map(|(sku, update)| (*sku, update)));
        let numbers: BTreeMap<&str, usize> =
            skus.keys().zip(1..).map(|(sku, number)| (*sku, number)).collect();

        let mut call = Call::default();
        call.keys.push(keys.shard(shard));
        call.keys.extend(
            self.cells
                .keys()
                .map(|(sku, warehouse)| keys.cell(shard, sku, warehouse)),
        );
        for sku in skus.keys() {
            call.keys.push(keys.sku(shard, sku));
            call.keys.push(keys.front(shard, sku));
        }
        let out = &mut call.arguments;
        out.push(cluster.to_owned());
        for number in [expected_seq, self.through_seq, self.log_time_ms] {
            out.push(number.to_string());
        }
        out.extend([self.cells.len(), skus.len()].map(|count| count.to_string()));
        for ((sku, warehouse), cell) in &self.cells {
            out.push((*warehouse).to_owned());
            out.push(numbers.get(sku).copied().unwrap_or_default().to_string());
            out.push((2 * cell.buckets.len() + 4).to_string());
            for ((bucket, storefront), units) in &cell.buckets {
                out.push(field(*bucket, storefront));
                out.push(units.to_string());
            }
            out.extend(["seq".to_owned(), cell.seq.to_string()]);
            out.extend(["log_time_ms".to_owned(), cell.log_time_ms.to_string()]);
        }
        for update in skus.values() {
            out.push(update.free.len().to_string());
            for (warehouse, delta) in &update.free {
                out.extend([(*warehouse).to_owned(), delta.to_string()]);
            }
            out.push(update.pools.len().to_string());
            for ((storefront, warehouse), delta) in &update.pools {
                out.extend([
                    (*storefront).to_owned(),
                    (*warehouse).to_owned(),
                    delta.to_string(),
                ]);
            }
            out.push(update.may_borrow.len().to_string());
            for (storefront, may_borrow) in &update.may_borrow {
                out.extend([(*storefront).to_owned(), u8::from(*may_borrow).to_string()]);
            }
        }
        call
    }
}

/// Returns every bucket of a cell, with the storefront of a pool, and its units.
pub(crate) fn buckets(cell: &Cell) -> impl Iterator<Item = ((Bucket, &str), i64)> {
    let plain = [
        (Bucket::OnHand, cell.on_hand),
        (Bucket::Free, cell.free),
        (Bucket::Safety, cell.safety),
        (Bucket::Held, cell.held),
        (Bucket::Committed, cell.committed),
        (Bucket::Damaged, cell.damaged),
        (Bucket::QualityHold, cell.quality_hold),
        (Bucket::Deficit, cell.deficit),
        (Bucket::Backordered, cell.backordered),
        (Bucket::InTransit, cell.in_transit),
    ];
    let plain = plain.into_iter().map(|(bucket, units)| ((bucket, ""), units));
    let pools = cell.pools.iter();
    plain.chain(pools.map(|pool| ((Bucket::Pool, pool.storefront.as_str()), pool.quantity)))
}

/// Returns the field of a bucket in a cell's hash.
pub(crate) fn field(bucket: Bucket, storefront: &str) -> String {
    match bucket {
        Bucket::Pool => format!("pool:{storefront}"),
        bucket => names::bucket(bucket).to_owned(),
    }
}
