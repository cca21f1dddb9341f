//! Ids of an import's operations. They follow from the source's name and the document, so a document has the
//! same ids in every file.

use bytes::Bytes;
use holdfast_client::feed_operation_id;

/// The part of an operation id without its time: a hash of source and document.
pub(super) type Tail = [u8; 10];

/// Beginning of the reasons of all imports.
pub(super) const REASON: &str = "import.";

/// The source of documents, and the file that they were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    name: String,
    file: String,
}

impl Source {
    /// Makes the source of this name, with a file of this content.
    #[cfg(test)]
    pub(super) fn of_content(name: &str, content: &[u8]) -> Self {
        Self::of_hash(name, xxhash_rust::xxh3::xxh3_128(content))
    }

    /// Makes the source of this name, with a file whose content has this hash (XXH3).
    pub(super) fn of_hash(name: &str, file: u128) -> Self {
        Self {
            name: name.to_owned(),
            file: format!("{file:032x}"),
        }
    }

    /// Returns the source's name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the hash of the file's content, 32 hexadecimal digits.
    pub(super) fn file(&self) -> &str {
        &self.file
    }

    /// Returns the first 8 digits of the file's hash, for names.
    pub(super) fn short(&self) -> &str {
        &self.file[..8]
    }

    /// Returns the reason that marks every operation of this file in the change stream.
    pub(super) fn reason(&self) -> String {
        format!("{REASON}{}", self.short())
    }

    /// Returns the operation id of a document, for an import that began at `epoch_ms`.
    pub(super) fn operation_id(&self, epoch_ms: u64, document: &str) -> Bytes {
        feed_operation_id(epoch_ms, &self.name, document)
    }

    /// Returns the part that all ids of a document share, whenever the import began.
    pub(super) fn tail(&self, document: &str) -> Tail {
        tail_of(&self.operation_id(0, document)).unwrap_or_default()
    }
}

/// Returns the tail of an operation id, or nothing when the id is not 16 bytes long.
pub(super) fn tail_of(operation_id: &[u8]) -> Option<Tail> {
    <[u8; 16]>::try_from(operation_id).ok()?[6..].try_into().ok()
}

/// Returns the time of an operation id in milliseconds since the Unix epoch, or nothing when the id is not 16
/// bytes long.
pub(super) fn time_of(operation_id: &[u8]) -> Option<u64> {
    let id = <[u8; 16]>::try_from(operation_id).ok()?;
    let mut time = [0; 8];
    time[2..].copy_from_slice(&id[..6]);
    Some(u64::from_be_bytes(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_a_source_has_the_same_id_in_every_file_and_only_the_epoch_changes_the_front() {
        let source = Source::of_content("shop", b"orders");
        let resaved = Source::of_content("shop", b"orders again");
        assert_eq!(
            source.operation_id(1_000, "1/0"),
            resaved.operation_id(1_000, "1/0")
        );
        assert_ne!(source.reason(), resaved.reason());
        let (early, late) = (
            source.operation_id(1_000, "1/0"),
            source.operation_id(2_000, "1/0"),
        );
        assert_eq!((time_of(&early), time_of(&late)), (Some(1_000), Some(2_000)));
        assert_eq!(tail_of(&early), Some(source.tail("1/0")));
        assert_eq!(tail_of(&late), Some(source.tail("1/0")));
        assert_ne!(source.tail("1/0"), source.tail("1/1"));
        let other = Source::of_content("other", b"orders");
        assert_ne!(source.tail("1/0"), other.tail("1/0"));
    }

    #[test]
    fn the_reason_fits_the_ledger() {
        let reason = format!("{}.initial-stock", Source::of_content("shop", b"orders").reason());
        assert!(holdfast_api::names::CallerReason::new(reason).is_ok());
    }

    #[test]
    fn ids_of_another_length_are_nothing() {
        assert_eq!((tail_of(&[]), time_of(&[0; 15])), (None, None));
    }
}
