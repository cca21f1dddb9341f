//! Operation ids: new ones, and those of a feed's documents.

use prost::bytes::Bytes;
use uuid::Uuid;
use xxhash_rust::xxh3::Xxh3;

/// The latest time that an id can carry: 48 bits of milliseconds.
const MAX_TIME_MS: u64 = (1 << 48) - 1;

/// Returns a new operation id: a UUIDv7 of the current time. Make one for each operation and keep it for all
/// its retries.
pub fn new_operation_id() -> Bytes {
    id_bytes(Uuid::now_v7())
}

/// Returns the operation id of a document of a feed that has no ids of its own. It is a UUIDv8: the first 48
/// bits are the event's time, the rest is a hash of the source's name and the document's number. The same
/// three always give the same id, so a document that is replayed takes effect once.
///
/// `time_ms` is milliseconds since the Unix epoch, at most 2^48 − 1 (the year 10889). A larger time is cut to
/// that.
pub fn feed_operation_id(time_ms: u64, source: &str, document: &str) -> Bytes {
    let mut hasher = Xxh3::new();
    // The length keeps ("ab", "c") and ("a", "bc") apart.
    hasher.update(&(source.len() as u64).to_be_bytes());
    hasher.update(source.as_bytes());
    hasher.update(document.as_bytes());
    let mut bytes = hasher.digest128().to_be_bytes();
    bytes[..6].copy_from_slice(&time_ms.min(MAX_TIME_MS).to_be_bytes()[2..]);
    id_bytes(Uuid::new_v8(bytes))
}

/// Returns an id as it is sent.
pub fn id_bytes(id: Uuid) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_always_gets_the_same_id_and_another_document_another() {
        let id = feed_operation_id(1_700_000_000_123, "erp", "4711");
        assert_eq!(id, feed_operation_id(1_700_000_000_123, "erp", "4711"));
        assert_ne!(id, feed_operation_id(1_700_000_000_123, "erp", "4712"));
        assert_ne!(id, feed_operation_id(1_700_000_000_123, "er", "p4711"));
        let uuid = Uuid::from_slice(&id).unwrap();
        assert_eq!(uuid.get_version_num(), 8);
        assert_eq!(uuid.get_variant(), uuid::Variant::RFC4122);
        assert_eq!(
            u64::from_str_radix(&uuid.simple().to_string()[..12], 16).unwrap(),
            1_700_000_000_123
        );
    }

    #[test]
    fn new_ids_are_version_7_and_differ() {
        let (one, two) = (new_operation_id(), new_operation_id());
        assert_ne!(one, two);
        assert_eq!(Uuid::from_slice(&one).unwrap().get_version_num(), 7);
    }
}
