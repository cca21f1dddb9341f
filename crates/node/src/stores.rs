//! Opening what a node has on disk: who it is, its log, and each shard's snapshots and changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_shard::{DocumentStores, ShardStores};
use holdfast_storage::{
    ChangeLog, ChangeLogError, ChangeLogOptions, Disk, DiskError, Facts, FactsError, GroupId, Log, LogError,
    LogOptions, NodeFacts, RealDisk, SnapshotError, SnapshotStore,
};

use crate::NodeConfig;
use crate::restore::{self, RestoreError, Restored};

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

/// What the log calls the directory's group, where shards have their numbers; there are fewer shards than this.
const DIRECTORY_GROUP: u32 = 255;

/// Groups of the log for one generation of replicas.
const GROUPS: u32 = 256;

/// A replica's group in the log, and the name of its folders: every replica that ever was on a node has its own, so that a later
/// one finds nothing of an earlier one. Generations are below 2^24.
fn group(shard: u32, generation: u32) -> GroupId {
    generation * GROUPS + shard
}

/// What a node has on disk, opened; a replica's part of it when it is asked for.
pub(crate) struct Stores {
    pub(crate) log: Log,
    pub(crate) facts: NodeFacts,
    /// The backup that the shards begin with, if they do.
    pub(crate) restored: Option<Restored>,
    data_dir: PathBuf,
    disk: Arc<dyn Disk>,
    change_segment_bytes: u32,
}

impl Stores {
    /// Opens what a replica of a shard has; one that founds its group, with these nodes, begins with what was restored. Blocks.
    pub(crate) fn shard(
        &self,
        shard: u32,
        generation: u32,
        founders: &BTreeSet<u64>,
    ) -> Result<ShardStores, StoresError> {
        let group = group(shard, generation);
        let snapshots = SnapshotStore::open(Arc::clone(&self.disk), group)
            .map_err(|source| StoresError::Snapshots { shard, source })?;
        let options = ChangeLogOptions {
            segment_bytes: self.change_segment_bytes,
            ..ChangeLogOptions::default()
        };
        let (changes, report) = ChangeLog::open(Arc::clone(&self.disk), group, options)
            .map_err(|source| StoresError::Changes { shard, source })?;
        tracing::info!(shard, generation, ?report, "change log opened");
        let stores = ShardStores {
            log: self.log.clone(),
            group,
            snapshots,
            changes,
        };
        if let Some(restored) = self.restored.as_ref().filter(|_| !founders.is_empty()) {
            restore::take_over(&self.data_dir, restored, shard, &stores, founders)?;
        }
        Ok(stores)
    }

    /// Opens what a replica of the directory has. Blocks.
    pub(crate) fn directory(&self, generation: u32) -> Result<DocumentStores, StoresError> {
        let group = group(DIRECTORY_GROUP, generation);
        let snapshots =
            SnapshotStore::open(Arc::clone(&self.disk), group).map_err(|source| StoresError::Snapshots {
                shard: DIRECTORY_GROUP,
                source,
            })?;
        Ok(DocumentStores {
            log: self.log.clone(),
            group,
            snapshots,
        })
    }

    /// Gives up what a replica that has left had. What cannot be removed now is in the way of nobody. Blocks.
    pub(crate) fn erase(&self, shard: u32, generation: u32) {
        let group = group(shard, generation);
        if let Some(last) = self.log.state(group).last_index {
            let purged = self
                .log
                .purge_through(group, last, bytes::Bytes::new(), Box::new(|_| ()));
            if let Err(error) = purged {
                tracing::warn!(shard, generation, %error, "the log of a replica that has left is kept");
            }
        }
        for folder in ["snapshots", "changes"] {
            let folder = format!("{folder}/{group}");
            let removed = self.disk.list(&folder).and_then(|files| {
                files
                    .iter()
                    .try_for_each(|file| self.disk.remove(&format!("{folder}/{file}")))
            });
            if let Err(error) = removed {
                tracing::warn!(shard, generation, folder, %error, "files of a replica that has left are kept");
            }
        }
    }
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
    let facts = NodeFacts::open(&facts_folder(path))?;
    facts.establish(&facts_of(config))?;

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

    let change_segment_bytes = u32::try_from(config.storage.change_segment_bytes).unwrap_or(u32::MAX);
    Ok(Stores {
        log,
        facts,
        restored: restore::restored(path, config.shards.count)?,
        data_dir: path.clone(),
        disk,
        change_segment_bytes,
    })
}
