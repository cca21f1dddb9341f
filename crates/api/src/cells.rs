//! Cells as they stand after changes: a change carries the units of each bucket that it moved.

use crate::v1::{Bucket, Cell, Pool};

impl Cell {
    /// Returns a cell without any units.
    pub fn empty(sku: &str, warehouse: &str) -> Self {
        Self {
            sku: sku.to_owned(),
            warehouse: warehouse.to_owned(),
            ..Self::default()
        }
    }

    /// Writes the units that a bucket has after a change. `storefront` says whose pool it is, and matters for
    /// [`Bucket::Pool`] alone. Pools stay in the order of their storefronts, and an empty one is not listed.
    /// Does nothing for [`Bucket::Unspecified`].
    pub fn set(&mut self, bucket: Bucket, storefront: &str, units: i64) {
        match bucket {
            Bucket::Unspecified => {}
            Bucket::OnHand => self.on_hand = units,
            Bucket::Free => self.free = units,
            Bucket::Pool => self.set_pool(storefront, units),
            Bucket::Safety => self.safety = units,
            Bucket::Held => self.held = units,
            Bucket::Committed => self.committed = units,
            Bucket::Damaged => self.damaged = units,
            Bucket::QualityHold => self.quality_hold = units,
            Bucket::Deficit => self.deficit = units,
            Bucket::Backordered => self.backordered = units,
            Bucket::InTransit => self.in_transit = units,
        }
    }

    fn set_pool(&mut self, storefront: &str, quantity: i64) {
        match self
            .pools
            .binary_search_by(|pool| pool.storefront.as_str().cmp(storefront))
        {
            Ok(at) if quantity == 0 => {
                self.pools.remove(at);
            }
            Ok(at) => self.pools[at].quantity = quantity,
            Err(_) if quantity == 0 => {}
            Err(at) => self.pools.insert(
                at,
                Pool {
                    storefront: storefront.to_owned(),
                    quantity,
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_is_set_alone() {
        let buckets = [
            Bucket::OnHand,
            Bucket::Free,
            Bucket::Safety,
            Bucket::Held,
            Bucket::Committed,
            Bucket::Damaged,
            Bucket::QualityHold,
            Bucket::Deficit,
            Bucket::Backordered,
            Bucket::InTransit,
        ];
        for bucket in buckets {
            let mut cell = Cell::empty("A", "W");
            cell.set(bucket, "", 7);
            let name = bucket.as_str_name().trim_start_matches("BUCKET_").to_lowercase();
            let all = [
                ("on_hand", cell.on_hand),
                ("free", cell.free),
                ("safety", cell.safety),
                ("held", cell.held),
                ("committed", cell.committed),
                ("damaged", cell.damaged),
                ("quality_hold", cell.quality_hold),
                ("deficit", cell.deficit),
                ("backordered", cell.backordered),
                ("in_transit", cell.in_transit),
            ];
            for (other, units) in all {
                assert_eq!(units, if other == name { 7 } else { 0 }, "{other} after {name}");
            }
            assert!(cell.pools.is_empty());
        }
    }

    #[test]
    fn pools_are_in_order_and_empty_ones_are_not_listed() {
        let mut cell = Cell::empty("A", "W");
        cell.set(Bucket::Pool, "web", 3);
        cell.set(Bucket::Pool, "outlet", 2);
        cell.set(Bucket::Pool, "none", 0);
        let pools = |cell: &Cell| -> Vec<(String, i64)> {
            let pools = cell.pools.iter();
            pools
                .map(|pool| (pool.storefront.clone(), pool.quantity))
                .collect()
        };
        assert_eq!(pools(&cell), [("outlet".to_owned(), 2), ("web".to_owned(), 3)]);
        cell.set(Bucket::Pool, "outlet", 0);
        cell.set(Bucket::Pool, "web", 9);
        assert_eq!(pools(&cell), [("web".to_owned(), 9)]);
    }
}
