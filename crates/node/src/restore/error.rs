//! The reasons why a data folder was not restored, or a restored one cannot be used.

use std::path::PathBuf;

use holdfast_shard::SeedError;
use holdfast_storage::DiskError;
use uuid::Uuid;

/// The reason why a restore does not work.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data folder is not empty.
    #[error(
        "the data folder {} is not empty, it contains {found}: restore a backup into a new cluster, before any of its nodes is started",
        data_dir.display()
    )]
    NotEmpty {
        /// The data folder.
        data_dir: PathBuf,
        /// The name of something in the folder.
        found: String,
    },
    /// The data folder was restored already.
    #[error(
        "the data folder {} was restored before, from backup {backup}: start the node, or empty the folder",
        data_dir.display()
    )]
    AlreadyRestored {
        /// The data folder.
        data_dir: PathBuf,
        /// The backup that it was restored from.
        backup: String,
    },
    /// Another process works in the data folder, or the folder cannot be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The number of shards does not fit.
    #[error(
        "the backup has {backup} shards, and the configuration says {configured}: set shards.count to {backup}, because a restore cannot change the number of shards"
    )]
    ShardCount {
        /// Number of shards in the backup.
        backup: usize,
        /// Number of shards in the configuration.
        configured: usize,
    },
    /// A shard is missing from the backup.
    #[error("shard {shard} is not in the backup")]
    MissingShard {
        /// The number of the shard.
        shard: u32,
    },
    /// The new cluster has no id of its own.
    #[error(
        "node.cluster_id must be an id of its own, but it is {cluster_id}, the cluster that was backed up: choose a new id for the restored cluster, so that nobody confuses the two"
    )]
    ClusterId {
        /// The id of the cluster that the backup is of.
        cluster_id: Uuid,
    },
    /// A restore was begun and not finished.
    #[error(
        "a restore into {} was begun and not finished: run `holdfast backup restore` again, or remove the folder `restore` in it to start without the backup",
        data_dir.display()
    )]
    Unfinished {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// The record of the restore differs from what was written.
    #[error("{} is damaged: {what}; empty the data folder and restore again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault in the file.
        what: String,
    },
    /// A ledger cannot be taken over.
    #[error("{0}; empty the data folder and restore again")]
    Seed(#[from] SeedError),
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
}
