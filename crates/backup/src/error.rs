//! What can be wrong with a backup.

use holdfast_changes::archive::ArchiveError;
use holdfast_client::ClientError;

/// Why a backup was not taken, found or believed.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The place is not understood or not usable.
    #[error(transparent)]
    Place(#[from] ArchiveError),
    /// The object store.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// The name cannot be one.
    #[error(
        "the name {name:?} cannot be one: give 1 to 64 letters, digits, dots, hyphens or underscores, the first no dot"
    )]
    Name {
        /// As given.
        name: String,
    },
    /// There is something of that name.
    #[error("there is a backup {name} already, whole or unfinished: give another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// There is nothing of that name.
    #[error("there is no backup {name} there; `holdfast backup list` shows which there are")]
    NotFound {
        /// The name.
        name: String,
    },
    /// It has files, but no manifest.
    #[error(
        "the backup {name} was begun and not finished: it cannot be used; take another, and remove its files"
    )]
    Unfinished {
        /// The name.
        name: String,
    },
    /// A newer program wrote it.
    #[error(
        "the backup {name} has format version {found}, this program reads version {supported}; use the program that wrote it"
    )]
    UnknownVersion {
        /// The name.
        name: String,
        /// In the manifest.
        found: u64,
        /// What this program reads.
        supported: u32,
    },
    /// A file is not what was written.
    #[error("{file} is damaged: {what}; this backup must not be restored")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        what: String,
    },
    /// The ledgers are not of one moment.
    #[error("the backup {name} is torn: {what}; this backup must not be restored")]
    Torn {
        /// The name.
        name: String,
        /// What does not fit together.
        what: String,
    },
    /// The cluster did not give it.
    #[error("the cluster gave no backup: {0}")]
    Cluster(#[from] ClientError),
    /// The cluster gave something else than it said.
    #[error("shard {shard} did not arrive as it was sent: {what}; try again")]
    Transfer {
        /// Which shard.
        shard: u32,
        /// What is wrong.
        what: String,
    },
    /// A file cannot be written.
    #[error("cannot write {file}: {source}")]
    Write {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A defect of this program.
    #[error("the backup failed inside: {0}")]
    Defect(String),
}
