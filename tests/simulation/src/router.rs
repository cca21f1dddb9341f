//! What orders ask the node's router.

/// The shard that owns a slot. Here the names of SKUs say it, so nothing asks.
pub(crate) fn shard_of_slot(slot: u16, shard_count: u32) -> u32 {
    u32::from(slot) % shard_count.max(1)
}
