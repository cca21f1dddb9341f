//! Why a data folder was not restored, or a restored one cannot be used.

use std::path::PathBuf;

use holdfast_shard::SeedError;
use holdfast_storage::DiskError;
use uuid::Uuid;

/// Why a restore does not work.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something in the data folder.
    #[error(
        "the data folder {} is not empty ({found} is in it): a backup is restored into a new cluster, before any of its nodes is started",
        data_dir.display()
    )]
    NotEmpty {
        /// The data folder.
        data_dir: PathBuf,
        /// Something that is there.
        found: String,
    },
    /// The folder was restored already.
    #[error(
        "the data folder {} was restored already, from backup {backup}: start the node, or empty the folder",
        data_dir.display()
    )]
    AlreadyRestored {
        /// The data folder.
        data_dir: PathBuf,
        /// From what.
        backup: String,
    },
    /// Somebody works in the data folder, or it cannot be made.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The shards do not fit.
    #[error(
        "the backup has {backup} shards and the configuration {configured}: set shards.count to {backup}, the number of shards cannot be changed by a restore"
    )]
    ShardCount {
        /// In the backup.
        backup: usize,
        /// In the configuration.
        configured: usize,
    },
    /// A shard is not in it.
    #[error("shard {shard} is not in the backup")]
    MissingShard {
        /// Which.
        shard: u32,
    },
    /// The new cluster has no id of its own.
    #[error(
        "node.cluster_id must be an id of its own for the restored cluster, other than {cluster_id}, that of the backup: two clusters of one name would be taken for each other"
    )]
    ClusterId {
        /// Of the cluster that the backup is of.
        cluster_id: Uuid,
    },
    /// A restore was broken off.
    #[error(
        "a restore into {} was begun and not finished: run `holdfast backup restore` again, or remove the folder `restore` in it to begin without",
        data_dir.display()
    )]
    Unfinished {
        /// The data folder.
        data_dir: PathBuf,
    },
    /// What the restore wrote is not there as it was written.
    #[error("{} is damaged: {what}; empty the data folder and restore again", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
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
        /// Why.
        source: std::io::Error,
    },
}
