//! Errors of a backup.

use holdfast_client::ClientError;
use holdfast_lake::LocationError;

/// The reason why a backup was not taken, found or accepted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The location is not understood or not usable.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The object store failed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The name cannot be the name of a backup.
    #[error(
        "the name {name:?} cannot be one: give 1 to 64 letters, digits, dots, hyphens or underscores, the first no dot"
    )]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// Something with this name exists.
    #[error("there is a backup {name} already, whole or unfinished: give another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// Nothing with this name exists.
    #[error("there is no backup {name} there; `holdfast backup list` shows which there are")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The backup has files, but no manifest.
    #[error(
        "the backup {name} was begun and not finished: it cannot be used; take another, and remove its files"
    )]
    Unfinished {
        /// The name.
        name: String,
    },
    /// The backup was written by a newer program.
    #[error(
        "the backup {name} has format version {found}, this program reads version {supported}; use the program that wrote it"
    )]
    UnknownVersion {
        /// The name.
        name: String,
        /// The version in the manifest.
        found: u64,
        /// The version that this program reads.
        supported: u32,
    },
    /// A file is not what was written.
    #[error("{file} is damaged: {what}; this backup must not be restored")]
    Damaged {
        /// The file.
        file: String,
        /// The fault, in words.
        what: String,
    },
    /// The ledgers are not from one moment.
    #[error("the backup {name} is torn: {what}; this backup must not be restored")]
    Torn {
        /// The name.
        name: String,
        /// A description of the parts that do not fit together.
        what: String,
    },
    /// The cluster did not deliver the backup.
    #[error("the cluster gave no backup: {0}")]
    Cluster(#[from] ClientError),
    /// The cluster delivered something else than it announced.
    #[error("shard {shard} did not arrive as it was sent: {what}; try again")]
    Transfer {
        /// The shard.
        shard: u32,
        /// The fault, in words.
        what: String,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {source}")]
    Write {
        /// The file.
        file: String,
        /// The error of the write.
        source: std::io::Error,
    },
    /// This program has a defect.
    #[error("the backup failed inside: {0}")]
    Defect(String),
}
