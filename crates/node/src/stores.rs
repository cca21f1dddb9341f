//! The data of a node on its disk: its facts, its log, and each shard's snapshots and changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdfast_shard::{RegisterStores, ShardStores};
use holdfast_storage::{
    ChangeLog, ChangeLogError, ChangeLogOptions, Disk, DiskError, Facts, FactsError, GroupId, Log, LogError,
    LogOptions, NodeFacts, RealDisk, SnapshotError, SnapshotStore,
};

use crate::NodeConfig;
use crate::restore::{self, RestoreError, Restored};
use crate::space::Space;

/// The folder for the node's facts inside its data folder.
pub(crate) const FACTS_FOLDER: &str = "facts";

/// The reason why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoresError {
    /// The folder cannot be made or opened.
    #[error("the data folder {} cannot be used: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The disk cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The folder belongs to another node or cluster, or its facts cannot be read.
    #[error(transparent)]
    Facts(#[from] FactsError),
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A shard's snapshots cannot be used.
    #[error("the snapshots of shard {shard} cannot be used: {source}")]
    Snapshots {
        /// The number of the shard.
        shard: u32,
        /// The error of the snapshots.
        source: SnapshotError,
    },
    /// A shard's changes cannot be used.
    #[error("the changes of shard {shard} cannot be used: {source}")]
    Changes {
        /// The number of the shard.
        shard: u32,
        /// The error of the changes.
        source: ChangeLogError,
    },
    /// The data that a restore left in the folder cannot be used.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The task that opens the folder panicked.
    #[error("opening the data folder failed: {0}")]
    Defect(String),
}

/// The key of the replicas that are about to leave, among the node's facts: shard and generation of each,
/// little endian.
const LEAVING: &str = "leaving";

/// The key of the fact that the log has a mark of how far it was synced.
pub(crate) const LOG_IS_MARKED: &str = "log is marked";

fn encode_leaving(leaving: &BTreeSet<(u32, u32)>) -> Vec<u8> {
    let numbers = leaving
        .iter()
        .flat_map(|(shard, generation)| [*shard, *generation]);
    numbers.flat_map(u32::to_le_bytes).collect()
}

/// Decodes the replicas that are about to leave. Skips a part that is too short: what it named stays on the
/// disk.
fn decode_leaving(bytes: &[u8]) -> BTreeSet<(u32, u32)> {
    let number = |bytes: &[u8]| {
        bytes
            .iter()
            .rev()
            .fold(0_u32, |sum, byte| sum << 8 | u32::from(*byte))
    };
    let pairs = bytes.chunks_exact(8);
    pairs
        .map(|pair| (number(&pair[..4]), number(&pair[4..])))
        .collect()
}

/// The number of the directory's group in the log, where shards have their own numbers. There are fewer
/// shards than this.
const DIRECTORY_GROUP: u32 = 255;

/// Number of groups in the log for one generation of replicas.
const GROUPS: u32 = 256;

/// Returns a replica's group in the log, which also names its folders. Every replica that ever was on a node
/// has its own group, so that a later one finds nothing of an earlier one. Generations are below 2^24.
fn group(shard: u32, generation: u32) -> GroupId {
    generation * GROUPS + shard
}

/// The opened data folder of a node. The data of a replica is opened when it is needed.
pub(crate) struct Stores {
    pub(crate) log: Log,
    pub(crate) facts: NodeFacts,
    pub(crate) space: Space,
    /// The backup that the shards begin with, if they do.
    pub(crate) restored: Option<Restored>,
    data_dir: PathBuf,
    disk: Arc<dyn Disk>,
    change_segment_bytes: u32,
}

impl Stores {
    /// Opens the stores of a shard's replica. A replica that founds its group with `founders` begins with
    /// what was restored. Blocks.
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

    /// Opens the stores of a replica of the directory. Blocks.
    pub(crate) fn directory(&self, generation: u32) -> Result<RegisterStores, StoresError> {
        let group = group(DIRECTORY_GROUP, generation);
        let snapshots =
            SnapshotStore::open(Arc::clone(&self.disk), group).map_err(|source| StoresError::Snapshots {
                shard: DIRECTORY_GROUP,
                source,
            })?;
        Ok(RegisterStores {
            log: self.log.clone(),
            group,
            snapshots,
        })
    }

    /// Records durably that a replica is about to leave. Its data is erased at the next start at the latest.
    ///
    /// # Errors
    /// The record cannot be written.
    pub(crate) fn note_leaving(&self, shard: u32, generation: u32) -> Result<(), StoresError> {
        let mut leaving = self.leaving()?;
        leaving.insert((shard, generation));
        Ok(self.facts.keep(LEAVING, &encode_leaving(&leaving))?)
    }

    fn leaving(&self) -> Result<BTreeSet<(u32, u32)>, StoresError> {
        let kept = self.facts.kept(LEAVING)?.unwrap_or_default();
        Ok(decode_leaving(&kept))
    }

    /// Erases the data of replicas that were about to leave and have no seat any more. Blocks.
    pub(crate) fn finish_leaving(&self, has_seat: impl Fn(u32, u32) -> bool) {
        let finish = || -> Result<(), StoresError> {
            let leaving = self.leaving()?;
            let mut left = BTreeSet::new();
            for (shard, generation) in &leaving {
                if has_seat(*shard, *generation) {
                    continue;
                }
                if let Err(error) = self.erase(*shard, *generation) {
                    tracing::warn!(
                        shard,
                        generation,
                        error,
                        "the files of a replica that has left could not be removed"
                    );
                    left.insert((*shard, *generation));
                }
            }
            if left != leaving {
                self.facts.keep(LEAVING, &encode_leaving(&left))?;
            }
            Ok(())
        };
        if let Err(error) = finish() {
            tracing::warn!(%error, "files of replicas that have left may still be on the disk");
        }
    }

    /// Erases the data of a replica that has left. The data is durably gone when this returns. Blocks.
    ///
    /// # Errors
    /// The reason why something could not be removed. What is left does no harm.
    pub(crate) fn erase(&self, shard: u32, generation: u32) -> Result<(), String> {
        let group = group(shard, generation);
        if let Some(last) = self.log.state(group).last_index {
            let (purged, done) = std::sync::mpsc::channel();
            let synced = Box::new(move |result| {
                // The receiver is gone only when the node ends.
                let _ = purged.send(result);
            });
            self.log
                .purge_through(group, last, bytes::Bytes::new(), synced)
                .map_err(|error| error.to_string())?;
            match done.recv() {
                Ok(result) => result.map_err(|error| error.to_string())?,
                Err(_) => return Err("the log was closed".to_owned()),
            }
        }
        for folder in ["snapshots", "changes"] {
            let folder = format!("{folder}/{group}");
            let files = self.disk.list(&folder).map_err(|error| error.to_string())?;
            for file in &files {
                let removed = self.disk.remove(&format!("{folder}/{file}"));
                removed.map_err(|error| format!("{folder}/{file}: {error}"))?;
            }
            if !files.is_empty() {
                let synced = self.disk.sync_dir(&folder);
                synced.map_err(|error| format!("{folder}: {error}"))?;
            }
        }
        Ok(())
    }
}

/// Returns the facts that must not change under a data folder.
pub(crate) fn facts_of(config: &NodeConfig) -> Facts {
    Facts {
        node_id: config.node.node_id,
        cluster_id: config.node.cluster_id.unwrap_or_default().to_string(),
        shard_count: config.shards.count,
    }
}

/// Returns the folder of the node's facts.
pub(crate) fn facts_folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FACTS_FOLDER)
}

/// Opens the data folder on a thread where blocking is allowed.
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
    // Takes the folder's lock: two processes never share a folder.
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(path)?);
    // On a full disk the ballast makes room for what a start writes.
    let space = Space::new(path, &config.storage);
    space.make_room_to_start();
    let facts = NodeFacts::open(&facts_folder(path))?;
    facts.establish(&facts_of(config))?;

    let segment_bytes = u32::try_from(config.storage.log_segment.bytes()).unwrap_or(u32::MAX);
    // A full entry and one more command fit, even in the smallest segments: `holdfast_shard::limits`.
    let max_record_bytes = LogOptions::default().max_record_bytes.min(segment_bytes / 4);
    let options = LogOptions {
        segment_bytes,
        max_record_bytes,
        // A log that is gone, or that lost its end together with the mark, must not look like a new one.
        expects_mark: facts.kept(LOG_IS_MARKED)?.is_some(),
        ..LogOptions::default()
    };
    let is_known = options.expects_mark;
    let (log, report) = Log::open(Arc::clone(&disk), options)?;
    tracing::info!(?report, "log opened");
    if report.is_marked && !is_known {
        facts.keep(LOG_IS_MARKED, b"yes")?;
    }
    space.look();

    let change_segment_bytes = u32::try_from(config.storage.change_segment.bytes()).unwrap_or(u32::MAX);
    Ok(Stores {
        log,
        facts,
        space,
        restored: restore::restored(path, config.shards.count)?,
        data_dir: path.clone(),
        disk,
        change_segment_bytes,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_storage::{ChangeRecord, Log, LogRecord, RealDisk};

    use super::*;

    fn stores(data_dir: &Path) -> Stores {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(data_dir).unwrap());
        let facts = NodeFacts::open(&facts_folder(data_dir)).unwrap();
        let options = LogOptions {
            segment_bytes: 1 << 20,
            max_record_bytes: 1 << 16,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(Arc::clone(&disk), options).unwrap();
        Stores {
            log,
            facts,
            space: Space::new(data_dir, &crate::config::StorageSection::default()),
            restored: None,
            data_dir: data_dir.to_path_buf(),
            disk,
            change_segment_bytes: 1 << 20,
        }
    }

    fn fill(stores: &Stores, shard: u32, generation: u32, index: u64) {
        let replica = stores.shard(shard, generation, &BTreeSet::new()).unwrap();
        let payload = Bytes::from_static(b"an entry");
        let entry = LogRecord {
            index,
            payload: payload.clone(),
        };
        replica
            .log
            .append(replica.group, vec![entry], Box::new(|_| ()))
            .unwrap();
        let mut snapshot = replica.snapshots.begin(Bytes::new()).unwrap();
        snapshot.write(b"a ledger").unwrap();
        snapshot.finish().unwrap();
        let change = ChangeRecord {
            first_seq: 1,
            last_seq: 1,
            log_index: 1,
            payload,
        };
        replica.changes.append(change).unwrap();
    }

    /// Returns whether anything of a replica is on the disk.
    fn has_any(stores: &Stores, shard: u32, generation: u32) -> bool {
        let group = group(shard, generation);
        stores.log.state(group).last_index.is_some()
            || ["snapshots", "changes"]
                .iter()
                .any(|folder| !stores.disk.list(&format!("{folder}/{group}")).unwrap().is_empty())
    }

    #[test]
    fn a_replica_that_left_before_a_crash_is_erased_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let here = stores(folder.path());
        for generation in [3, 4, 5] {
            fill(&here, 1, generation, 1);
        }
        // It crashed before 3 was erased, and before the node gave up its seat 4. It still has 5.
        here.note_leaving(1, 3).unwrap();
        here.note_leaving(1, 4).unwrap();
        here.log.clone().close().unwrap();
        drop(here);
        let here = stores(folder.path());
        assert!(has_any(&here, 1, 3) && has_any(&here, 1, 4));
        here.finish_leaving(|shard, generation| (shard, generation) == (1, 4));
        assert!(!has_any(&here, 1, 3));
        assert!(
            has_any(&here, 1, 4),
            "a replica that still has its seat was erased"
        );
        assert!(has_any(&here, 1, 5));
        // Nothing is left to be done.
        fill(&here, 1, 3, 2);
        here.finish_leaving(|_, _| false);
        assert!(has_any(&here, 1, 3));
    }
}
