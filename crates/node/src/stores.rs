//! Opening what a node has on disk: who it is, its log, and each shard's snapshots and changes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_shard::ShardStores;
use holdfast_storage::{
    ChangeLog, ChangeLogError, ChangeLogOptions, Disk, DiskError, Facts, FactsError, Log, LogError,
    LogOptions, NodeFacts, RealDisk, SnapshotError, SnapshotStore,
};

use crate::NodeConfig;
use crate::restore::{self, RestoreError};

/// The folder for the node's facts inside its data folder.
const FACTS_FOLDER: &str = "facts";

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// The folder cannot be made or opened.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The disk cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It belongs to another node or cluster, or cannot say.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A shard's snapshots cannot be used.
    #[error("the snapshots of shard {shard} cannot be used: {source}")]
    Snapshots {
        /// Which shard.
        shard: u32,
        /// Why.
        source: SnapshotError,
    },
    /// A shard's changes cannot be used.
    #[error("the changes of shard {shard} cannot be used: {source}")]
    Changes {
        /// Which shard.
        shard: u32,
        /// Why.
        source: ChangeLogError,
    },
    /// What a restore left in it cannot be used.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Opening them panicked.
    #[error("opening the data folder failed: {0}")]
    Defect(String),
}

/// What a node has on disk, opened.
pub(crate) struct Stores {
    pub(crate) log: Log,
    /// In order of shard.
    pub(crate) shards: Vec<ShardStores>,
    /// The backup with which the shards began, if they did.
    pub(crate) restored_from: Option<uuid::Uuid>,
}

/// The facts that must not change under a data folder.
pub(crate) fn facts_of(config: &NodeConfig) -> Facts {
    Facts {
        node_id: config.node.node_id,
        cluster_id: config.node.cluster_id.unwrap_or_default().to_string(),
        shard_count: config.shards.count,
    }
}

/// The folder of the node's facts.
pub(crate) fn facts_folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FACTS_FOLDER)
}

/// Opens everything, on a thread where blocking is allowed.
pub(crate) async fn open(config: &NodeConfig) -> Result<Stores, StoresError> {
    let config = config.clone();
    match tokio::task::spawn_blocking(move || open_blocking(&config)).await {
        Ok(result) => result,
        Err(error) => Err(StoresError::Defect(error.to_string())),
    }
}

fn open_blocking(config: &NodeConfig) -> Result<Stores, StoresError> {
    let path = &config.node.data_dir;
    std::fs::create_dir_all(path).map_err(|source| StoresError::Folder {
        path: path.clone(),
        source,
    })?;
    // Takes the folder's lock: two processes never share one.
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(path)?);
    NodeFacts::open(&facts_folder(path))?.establish(&facts_of(config))?;

    let segment_bytes = u32::try_from(config.storage.log_segment_bytes).unwrap_or(u32::MAX);
    // Twice the largest entry that the configuration and the API allow: a full one and one more command.
    let max_record_bytes = LogOptions::default().max_record_bytes.min(segment_bytes / 4);
    let options = LogOptions {
        segment_bytes,
        max_record_bytes,
        ..LogOptions::default()
    };
    let (log, report) = Log::open(Arc::clone(&disk), options)?;
    tracing::info!(?report, "log opened");

    let mut shards = Vec::new();
    for shard in 0..config.shards.count {
        let snapshots = SnapshotStore::open(Arc::clone(&disk), shard)
            .map_err(|source| StoresError::Snapshots { shard, source })?;
        let segment_bytes = u32::try_from(config.storage.change_segment_bytes).unwrap_or(u32::MAX);
        let options = ChangeLogOptions {
            segment_bytes,
            ..ChangeLogOptions::default()
        };
        let (changes, report) = ChangeLog::open(Arc::clone(&disk), shard, options)
            .map_err(|source| StoresError::Changes { shard, source })?;
        tracing::info!(shard, ?report, "change log opened");
        shards.push(ShardStores {
            log: log.clone(),
            snapshots,
            changes,
        });
    }
    let voters = config.cluster_nodes().iter().map(|node| node.node_id).collect();
    let restored_from = restore::take_over(path, &shards, &voters)?;
    Ok(Stores {
        log,
        shards,
        restored_from,
    })
}
