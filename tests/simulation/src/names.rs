//! The names that the workload uses, dealt to shards as production deals them.

use holdfast_api::slots::{shard_of_slot, slot_of};
use holdfast_ledger::{Sku, StorefrontId, WarehouseId};

use crate::plan::MAX_SHARDS;

const WAREHOUSES: [&str; 2] = ["north", "south"];

pub(crate) fn name<T, E: std::fmt::Debug>(name: Result<T, E>) -> T {
    name.expect("a valid name")
}

/// Returns a SKU whose slot belongs to this shard in a cluster of any size that has the shard.
fn dealt_to(shard: u32, kind: &str, number: u32) -> Sku {
    let mut names = (0..).map(|salt: u32| name(Sku::new(format!("{kind}-{number}-{salt}"))));
    let fits = |sku: &Sku| (shard + 1..=MAX_SHARDS).all(|count| shard_among(sku, count) == shard);
    names
        .find(fits)
        .expect("some slot is in this shard of all clusters")
}

fn shard_among(sku: &Sku, shard_count: u32) -> u32 {
    shard_of_slot(slot_of(sku.as_str()), shard_count)
}

/// Returns the simple SKU of a shard with this number.
pub fn simple_sku(shard: u32, number: u32) -> Sku {
    dealt_to(shard, "simple", number)
}

pub(crate) fn is_simple(sku: &Sku) -> bool {
    sku.as_str().starts_with("simple-")
}

pub(crate) fn busy_sku(shard: u32, number: u32) -> Sku {
    dealt_to(shard, "busy", number)
}

pub(crate) fn order_sku(shard: u32, number: u32) -> Sku {
    dealt_to(shard, "order", number)
}

/// Returns the shard of a SKU of this workload. It is the same however many shards there are.
pub fn shard_of(sku: &Sku) -> u32 {
    shard_among(sku, MAX_SHARDS)
}

pub(crate) fn warehouse(number: usize) -> WarehouseId {
    name(WarehouseId::new(WAREHOUSES[number % WAREHOUSES.len()]))
}

pub(crate) fn web() -> StorefrontId {
    name(StorefrontId::new("web"))
}
