//! What can be wrong with an archive.

use crate::cursor::SequenceError;
use crate::json::JsonError;
use crate::parquet::{DecodeError, EncodeError};

/// Why something was not archived or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The place is not understood or not usable.
    #[error(
        "{place} cannot be used as an archive: {reason}; give a folder, file:///folder or s3://bucket/prefix"
    )]
    Location {
        /// As given.
        place: String,
        /// Why.
        reason: String,
    },
    /// The object store.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The files of a shard do not follow each other.
    #[error(
        "shard {shard}: a file that begins with change {expected} was expected where {path} is; \
         two archives are mixed, or a file was removed"
    )]
    NotContiguous {
        /// The shard.
        shard: u32,
        /// The change that the next file should begin with.
        expected: u64,
        /// The file that is there.
        path: String,
    },
    /// A file that the archive did not write, or whose content is not what its name says.
    #[error("{path} is not what this archive wrote: its name and content do not fit")]
    ForeignFile {
        /// The file.
        path: String,
    },
    /// A file of the name is there with other changes.
    #[error(
        "{path} exists with other changes: it belongs to another cluster, or was changed; nothing was written"
    )]
    OtherContent {
        /// The file.
        path: String,
    },
    /// The stream has a gap or a broken entry.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// A change does not fit the columns.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// A Parquet file is damaged.
    #[error("{path}: {source}")]
    Decode {
        /// The file.
        path: String,
        /// What is wrong.
        source: DecodeError,
    },
    /// A change has no JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A file of JSON lines is damaged.
    #[error("{path}, line {line}: {source}")]
    DecodeJson {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        source: JsonError,
    },
}
