//! The partition of a key: the one that Java's producer, and librdkafka with `murmur2_random`, would choose.

use krafka::producer::murmur2;

/// Returns the partition of a key in a topic with so many partitions, at least 1.
///
/// The sink chooses it, and not the client. So a topic that grows while a runner writes moves no SKU to
/// another partition.
pub(super) fn partition_of(key: &str, partitions: i32) -> i32 {
    // As Java's `toPositive(murmur2(key)) % partitions`.
    let positive = (murmur2(key.as_bytes()) & 0x7fff_ffff) as i32;
    positive % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_javas() {
        // The vectors of Kafka's own UtilsTest.testMurmur2.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
            for partitions in [1, 3, 12, i32::MAX] {
                assert_eq!(partition_of(key, partitions), (hash & 0x7fff_ffff) % partitions);
            }
        }
        assert_eq!(partition_of("", 0), 0);
    }
}
