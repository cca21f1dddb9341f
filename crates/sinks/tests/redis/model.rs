//! A view as it must be after some changes, by the contract with readers and not by the sink's code.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_api::v1::{Bucket, Change};

use crate::view::Hashes;

/// Returns all hashes of a shard, by what follows the shard's part of their keys.
pub(crate) fn hashes(cluster: &str, changes: &[Change]) -> Hashes {
    let mut cells: BTreeMap<(&str, &str), BTreeMap<String, i64>> = BTreeMap::new();
    let mut may_borrow: BTreeMap<(&str, &str), bool> = BTreeMap::new();
    let mut last: BTreeMap<(&str, &str), (u64, u64)> = BTreeMap::new();
    for change in changes {
        let (sku, warehouse) = (change.sku.as_str(), change.warehouse.as_str());
        let storefront = change.storefront.as_str();
        if let Some(policy) = change.policy {
            may_borrow.insert((sku, storefront), policy.may_borrow);
        }
        if warehouse.is_empty() {
            continue;
        }
        last.insert((sku, warehouse), (change.seq, change.log_time_ms));
        let cell = cells.entry((sku, warehouse)).or_default();
        for moved in &change.moves {
            let field = if moved.bucket() == Bucket::Pool {
                may_borrow.entry((sku, storefront)).or_insert(true);
                format!("pool:{storefront}")
            } else {
                moved
                    .bucket()
                    .as_str_name()
                    .trim_start_matches("BUCKET_")
                    .to_lowercase()
            };
            cell.insert(field, moved.after);
        }
    }

    let mut hashes = Hashes::new();
    let mut add = |key: String, field: &str, value: String| {
        hashes.entry(key).or_default().insert(field.to_owned(), value);
    };
    for ((sku, storefront), may) in &may_borrow {
        add(format!("front:{sku}"), storefront, u8::from(*may).to_string());
    }
    let buckets = [
        "on_hand",
        "free",
        "safety",
        "held",
        "committed",
        "damaged",
        "quality_hold",
        "deficit",
        "backordered",
        "in_transit",
    ];
    for ((sku, warehouse), cell) in &cells {
        let key = format!("cell:{warehouse}|{sku}");
        for bucket in buckets {
            add(key.clone(), bucket, "0".to_owned());
        }
        for (field, units) in cell {
            add(key.clone(), field, units.to_string());
        }
        let (seq, log_time_ms) = last[&(*sku, *warehouse)];
        add(key.clone(), "seq", seq.to_string());
        add(key, "log_time_ms", log_time_ms.to_string());
    }
    let skus: BTreeSet<&str> = cells.keys().map(|(sku, _)| *sku).collect();
    for sku in skus {
        let of_sku = cells.iter().filter(|((name, _), _)| *name == sku);
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for ((_, warehouse), cell) in of_sku {
            let units = |field: &str| cell.get(field).copied().unwrap_or_default();
            let mut sum = |storefront: &str, units: i64| {
                *sums.entry(storefront.to_owned()).or_default() += units;
                *sums.entry(format!("{storefront}@{warehouse}")).or_default() += units;
            };
            sum("*", units("free"));
            for ((name, storefront), may) in &may_borrow {
                if *name == sku {
                    let free = if *may { units("free") } else { 0 };
                    sum(storefront, units(&format!("pool:{storefront}")) + free);
                }
            }
        }
        for (field, units) in sums {
            add(format!("sku:{sku}"), &field, units.to_string());
        }
    }
    if let Some(last) = changes.last() {
        add("shard".to_owned(), "cluster", cluster.to_owned());
        add("shard".to_owned(), "seq", last.seq.to_string());
        add("shard".to_owned(), "log_time_ms", last.log_time_ms.to_string());
    }
    hashes
}
