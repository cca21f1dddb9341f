//! Errors of a backup.

use holdfast_client::ClientError;
use holdfast_lake::{LocationError, PutError, ReadError};

/// The reason why a backup was not taken, found or accepted.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The location is not understood or not usable.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The object store cannot be listed.
    #[error("object store: {0}")]
    Store(#[from] object_store::Error),
    /// A file was not written.
    #[error(transparent)]
    Put(#[from] PutError),
    /// A file was not read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The name cannot be the name of a backup.
    #[error(
        "the name {name:?} is not allowed: write 1 to 64 letters, digits, dots, hyphens or underscores, and no dot at the beginning"
    )]
    Name {
        /// The name as it was given.
        name: String,
    },
    /// Something with this name exists.
    #[error("a backup {name} exists already, whole or unfinished: choose another name")]
    Exists {
        /// The name.
        name: String,
    },
    /// Nothing with this name exists.
    #[error("there is no backup {name}: `holdfast backup list` shows those that exist")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The backup has files, but no manifest.
    #[error(
        "the backup {name} was begun and not finished, so it cannot be used: take another one, and remove the files of this one"
    )]
    Unfinished {
        /// The name.
        name: String,
    },
    /// The backup was written by a newer program.
    #[error(
        "the backup {name} has format version {found}, and this program reads version {supported}; use the program that wrote the backup"
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
    #[error("the shards of the backup {name} do not fit together: {what}; this backup must not be restored")]
    Torn {
        /// The name.
        name: String,
        /// A description of the parts that do not fit together.
        what: String,
    },
    /// The cluster did not deliver the backup.
    #[error("the cluster did not give a backup: {0}")]
    Cluster(#[from] ClientError),
    /// The cluster delivered something else than it announced.
    #[error("shard {shard} did not arrive as it was sent: {what}; try again")]
    Transfer {
        /// The shard.
        shard: u32,
        /// The fault, in words.
        what: String,
    },
    /// This program has a defect.
    #[error("the backup failed because of a defect of this program: {0}")]
    Defect(String),
}
