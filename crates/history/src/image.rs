//! The units in the buckets of one cell.

use std::collections::BTreeMap;

use holdfast_api::v1::{self, Bucket, Change};

/// A cell, by its after-images.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    buckets: BTreeMap<Bucket, i64>,
    /// Units by storefront.
    pools: BTreeMap<String, i64>,
}

/// The knowledge about a bucket that no change has moved yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unmoved {
    /// The bucket is empty, because the cell has been followed from its first change on.
    Empty,
    /// The bucket is unknown, because the cell has been followed only from some later change on.
    Unknown,
}

impl Image {
    /// Adds up the moves of a change, and checks each after-image.
    pub(crate) fn apply(&mut self, change: &Change, unmoved: Unmoved) -> Result<(), String> {
        for moved in &change.moves {
            let bucket = bucket(moved)?;
            let known = match bucket {
                Bucket::Pool => self.pools.get(&change.storefront).copied(),
                other => self.buckets.get(&other).copied(),
            };
            let before = match (known, unmoved) {
                (None, Unmoved::Empty) => Some(0),
                (known, _) => known,
            };
            check(change, moved, bucket, before)?;
            match bucket {
                Bucket::Pool => self.pools.insert(change.storefront.clone(), moved.after),
                other => self.buckets.insert(other, moved.after),
            };
        }
        Ok(())
    }

    /// Returns the cell as the API shows it.
    pub(crate) fn cell(&self, sku: &str, warehouse: &str) -> v1::Cell {
        let mut cell = v1::Cell::empty(sku, warehouse);
        for (bucket, units) in &self.buckets {
            cell.set(*bucket, "", *units);
        }
        for (storefront, units) in &self.pools {
            cell.set(Bucket::Pool, storefront, *units);
        }
        cell
    }
}

/// Returns the bucket that moved.
pub(crate) fn bucket(moved: &v1::BucketMove) -> Result<Bucket, String> {
    match Bucket::try_from(moved.bucket) {
        Ok(Bucket::Unspecified) | Err(_) => Err(format!(
            "this version does not know bucket {}: a newer version wrote the change",
            moved.bucket
        )),
        Ok(bucket) => Ok(bucket),
    }
}

fn check(change: &Change, moved: &v1::BucketMove, bucket: Bucket, before: Option<i64>) -> Result<(), String> {
    let told = || {
        let name = bucket
            .as_str_name()
            .trim_start_matches("BUCKET_")
            .to_ascii_lowercase();
        format!("{name} of {} in {}", change.sku, change.warehouse)
    };
    let implied = moved.after.checked_sub(moved.delta);
    if let Some(before) = before
        && implied != Some(before)
    {
        let v1::BucketMove { delta, after, .. } = moved;
        return Err(format!(
            "{}: the change says that {before} {delta:+} is {after}",
            told()
        ));
    }
    if moved.after < 0 || implied.is_none_or(|before| before < 0) {
        return Err(format!("{} is below zero", told()));
    }
    Ok(())
}
