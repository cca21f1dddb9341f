//! Slots: how SKUs and documents are distributed over shards. Part of the public contract.

/// The number of slots. A shard owns a contiguous range of them.
pub const SLOTS: u16 = 4096;

/// The number of a slot: `0..SLOTS`.
pub type SlotNumber = u16;

/// Returns the slot of a SKU: the CRC-32 (IEEE 802.3) of its bytes modulo [`SLOTS`].
pub fn slot_of(sku: &str) -> SlotNumber {
    slot_number(crc32fast::hash(sku.as_bytes()))
}

/// Returns the slot of a storefront's document: the CRC-32 of both names with a line feed in between, modulo
/// [`SLOTS`]. The shard of this slot decides who has a document that must be unique.
pub fn slot_of_document(storefront: &str, reference: &str) -> SlotNumber {
    let mut hasher = crc32fast::Hasher::new();
    for part in [storefront, "\n", reference] {
        hasher.update(part.as_bytes());
    }
    slot_number(hasher.finalize())
}

/// Returns the shard that owns a slot. With n = `shard_count`, shard s owns the slots from s·4096/n up to
/// (s+1)·4096/n.
pub fn shard_of_slot(slot: SlotNumber, shard_count: u32) -> u32 {
    ((u32::from(slot) + 1) * shard_count - 1) / u32::from(SLOTS)
}

/// Returns the first and the last slot of a shard among `shard_count` shards.
pub fn slots_of_shard(shard: u32, shard_count: u32) -> (u32, u32) {
    let first = |shard: u32| shard * u32::from(SLOTS) / shard_count;
    (first(shard), first(shard + 1) - 1)
}

fn slot_number(hash: u32) -> SlotNumber {
    (hash % u32::from(SLOTS)) as SlotNumber
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_contract() {
        // The value is by an independent implementation of CRC-32 (zlib): "123456789" is the check value of
        // the standard.
        assert_eq!(crc32fast::hash(b"123456789"), 0xCBF4_3926);
        let vectors = [
            ("SHIRT-1", 1533),
            ("85123A", 2457),
            ("A", 3723),
            (":./_-", 772),
            (
                "0000000000000000000000000000000000000000000000000000000000000000",
                1227,
            ),
        ];
        for (sku, slot) in vectors {
            assert_eq!(slot_of(sku), slot, "{sku}");
        }
    }

    #[test]
    fn every_slot_belongs_to_the_shard_whose_range_holds_it() {
        for shard_count in 1..=64 {
            let mut next = 0;
            for shard in 0..shard_count {
                let (first, last) = slots_of_shard(shard, shard_count);
                assert_eq!(first, next);
                for slot in first..=last {
                    assert_eq!(
                        shard_of_slot(slot as u16, shard_count),
                        shard,
                        "slot {slot} of {shard_count}"
                    );
                }
                next = last + 1;
            }
            assert_eq!(next, u32::from(SLOTS));
        }
    }
}
