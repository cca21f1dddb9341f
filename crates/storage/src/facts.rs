//! Facts that a node must never forget about itself: its number, its cluster, and the number of shards of
//! that cluster.
//!
//! The facts are kept in sled. Sled's `flush` ends in `sync_file_range` on Linux, which does not survive a
//! power loss. So after every flush this module syncs the files in sled's directory, and the directory. The
//! facts are written once, when a data directory is first used, and never on the path of a request.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Identity of a node. Set once in the life of a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Number of the node in its cluster. Never reused for an empty data directory.
    pub node_id: u64,
    /// Name of the cluster.
    pub cluster_id: String,
    /// Number of shards with which the cluster was made.
    pub shard_count: u32,
}

/// Version of everything in a data directory taken together.
const FORMAT_VERSION: u32 = 2;

const NODE_ID: &str = "node id";
const CLUSTER_ID: &str = "cluster id";
const SHARD_COUNT: &str = "shard count";
const VERSION: &str = "format version";
const DISK_ID: &str = "disk id";
/// Prefix of the names that callers keep, so that they never equal a name of this module.
const KEPT: &str = "kept/";

/// Reason why the facts could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The configuration differs from the data directory.
    #[error(
        "{directory} belongs to {fact} {stored}, but the configuration says {configured}; use the right data folder, or correct the configuration"
    )]
    Mismatch {
        /// Path of the directory.
        directory: String,
        /// Name of the fact.
        fact: &'static str,
        /// The stored value.
        stored: String,
        /// The configured value.
        configured: String,
    },
    /// Some facts are missing and others are not, or one has a wrong form.
    #[error(
        "the facts in {directory} are damaged: {fact} is missing or not readable; restore this node from its peers"
    )]
    Damaged {
        /// Path of the directory.
        directory: String,
        /// Name of the fact.
        fact: &'static str,
    },
    /// The store cannot be read or written.
    #[error("cannot {operation} {directory}: {source}")]
    Store {
        /// The operation that failed.
        operation: &'static str,
        /// Path of the directory.
        directory: String,
        /// Error of the store.
        source: sled::Error,
    },
}

impl FactsError {
    /// Returns whether bytes on disk differ from those that were written.
    pub fn is_damage(&self) -> bool {
        match self {
            FactsError::Damaged { .. } => true,
            FactsError::Store { source, .. } => matches!(source, sled::Error::Corruption { .. }),
            FactsError::Mismatch { .. } => false,
        }
    }
}

/// Facts of the node that owns a data directory.
pub struct NodeFacts {
    directory: PathBuf,
    store: sled::Db,
}

impl NodeFacts {
    /// Opens the facts in `directory` (made if needed), which must contain nothing else.
    ///
    /// # Errors
    /// `Store`, also when another process has it open.
    pub fn open(directory: &Path) -> Result<NodeFacts, FactsError> {
        let config = sled::Config::new()
            .path(directory)
            .flush_every_ms(None)
            .cache_capacity(1 << 20);
        let store = config.open().map_err(store_error("open", directory))?;
        Ok(NodeFacts {
            directory: directory.to_path_buf(),
            store,
        })
    }

    /// Returns the stored facts, or `None` in a new directory.
    ///
    /// # Errors
    /// `Damaged`, `Store`, and `Mismatch` when another format version wrote the directory.
    pub fn get(&self) -> Result<Option<Facts>, FactsError> {
        if self.store.is_empty() {
            return Ok(None);
        }
        let version = self.number(VERSION)?;
        if version != u64::from(FORMAT_VERSION) {
            return Err(self.mismatch(VERSION, &version, &FORMAT_VERSION));
        }
        let cluster_id = String::from_utf8(self.bytes(CLUSTER_ID)?).map_err(|_| self.damaged(CLUSTER_ID))?;
        let shard_count = u32::try_from(self.number(SHARD_COUNT)?).map_err(|_| self.damaged(SHARD_COUNT))?;
        Ok(Some(Facts {
            node_id: self.number(NODE_ID)?,
            cluster_id,
            shard_count,
        }))
    }

    /// Stores the facts in a new directory, durably. In a used one, checks that they are the same and changes
    /// nothing.
    ///
    /// # Errors
    /// `Mismatch` names the fact that differs. All other errors are those of [`NodeFacts::get`].
    pub fn establish(&self, configured: &Facts) -> Result<(), FactsError> {
        let Some(stored) = self.get()? else {
            return self.store(configured);
        };
        if stored.cluster_id != configured.cluster_id {
            return Err(self.mismatch(CLUSTER_ID, &stored.cluster_id, &configured.cluster_id));
        }
        if stored.node_id != configured.node_id {
            return Err(self.mismatch(NODE_ID, &stored.node_id, &configured.node_id));
        }
        if stored.shard_count != configured.shard_count {
            return Err(self.mismatch(SHARD_COUNT, &stored.shard_count, &configured.shard_count));
        }
        Ok(())
    }

    /// Returns 16 random bytes, made with the directory. They tell this directory from every other, even one
    /// of the same node.
    ///
    /// # Errors
    /// The errors of [`NodeFacts::get`]; `Damaged` also before [`NodeFacts::establish`].
    pub fn disk_id(&self) -> Result<[u8; 16], FactsError> {
        self.bytes(DISK_ID)?.try_into().map_err(|_| self.damaged(DISK_ID))
    }

    /// Keeps a value of the caller under a name, in place of an earlier one. Durable when this returns.
    ///
    /// # Errors
    /// `Store`.
    pub fn keep(&self, name: &str, value: &[u8]) -> Result<(), FactsError> {
        self.store
            .insert(format!("{KEPT}{name}"), value)
            .map_err(store_error("write", &self.directory))?;
        self.make_durable()
    }

    /// Returns the value that was kept under a name.
    ///
    /// # Errors
    /// `Store`.
    pub fn kept(&self, name: &str) -> Result<Option<Vec<u8>>, FactsError> {
        let found = self
            .store
            .get(format!("{KEPT}{name}"))
            .map_err(store_error("read", &self.directory))?;
        Ok(found.map(|value| value.to_vec()))
    }

    fn store(&self, facts: &Facts) -> Result<(), FactsError> {
        let mut batch = sled::Batch::default();
        batch.insert(DISK_ID, &rand::random::<[u8; 16]>());
        batch.insert(VERSION, &u64::from(FORMAT_VERSION).to_le_bytes());
        batch.insert(NODE_ID, &facts.node_id.to_le_bytes());
        batch.insert(CLUSTER_ID, facts.cluster_id.as_bytes());
        batch.insert(SHARD_COUNT, &u64::from(facts.shard_count).to_le_bytes());
        self.store
            .apply_batch(batch)
            .map_err(store_error("write", &self.directory))?;
        self.make_durable()
    }

    fn make_durable(&self) -> Result<(), FactsError> {
        self.store
            .flush()
            .map_err(store_error("flush", &self.directory))?;
        sync_tree(&self.directory)
            .map_err(sled::Error::from)
            .map_err(store_error("sync", &self.directory))
    }

    fn bytes(&self, fact: &'static str) -> Result<Vec<u8>, FactsError> {
        let found = self
            .store
            .get(fact)
            .map_err(store_error("read", &self.directory))?;
        found
            .map(|bytes| bytes.to_vec())
            .ok_or_else(|| self.damaged(fact))
    }

    fn number(&self, fact: &'static str) -> Result<u64, FactsError> {
        let bytes = self.bytes(fact)?.try_into().map_err(|_| self.damaged(fact))?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn damaged(&self, fact: &'static str) -> FactsError {
        FactsError::Damaged {
            directory: self.directory.display().to_string(),
            fact,
        }
    }

    fn mismatch(&self, fact: &'static str, stored: &dyn ToString, configured: &dyn ToString) -> FactsError {
        let directory = self.directory.display().to_string();
        FactsError::Mismatch {
            directory,
            fact,
            stored: stored.to_string(),
            configured: configured.to_string(),
        }
    }
}

fn store_error(operation: &'static str, directory: &Path) -> impl FnOnce(sled::Error) -> FactsError {
    let directory = directory.display().to_string();
    move |source| FactsError::Store {
        operation,
        directory,
        source,
    }
}

/// Syncs every file below a directory, the directories, and the name of the directory itself.
fn sync_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sync_tree(&path)?
        } else {
            File::open(&path)?.sync_all()?
        }
    }
    File::open(directory)?.sync_all()?;
    match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, FactsError, NodeFacts};

    fn facts() -> Facts {
        Facts {
            node_id: 2,
            cluster_id: "prod-eu".to_string(),
            shard_count: 4,
        }
    }

    #[test]
    fn facts_are_set_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("facts");
        let store = NodeFacts::open(&path).unwrap();
        assert_eq!(store.get().unwrap(), None);
        store.establish(&facts()).unwrap();
        drop(store);
        let store = NodeFacts::open(&path).unwrap();
        assert_eq!(store.get().unwrap(), Some(facts()));
        store.establish(&facts()).unwrap();
    }

    #[test]
    fn every_directory_has_an_id_of_its_own_that_stays() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = NodeFacts::open(one.path()).unwrap();
        assert!(matches!(store.disk_id(), Err(FactsError::Damaged { .. })));
        store.establish(&facts()).unwrap();
        let disk_id = store.disk_id().unwrap();
        drop(store);
        let store = NodeFacts::open(one.path()).unwrap();
        store.establish(&facts()).unwrap();
        assert_eq!(store.disk_id().unwrap(), disk_id);
        let store = NodeFacts::open(other.path()).unwrap();
        store.establish(&facts()).unwrap();
        assert_ne!(store.disk_id().unwrap(), disk_id);
    }

    #[test]
    fn what_is_kept_is_found_again_and_hides_no_fact() {
        let directory = tempfile::tempdir().unwrap();
        let store = NodeFacts::open(directory.path()).unwrap();
        store.establish(&facts()).unwrap();
        assert_eq!(store.kept("node id").unwrap(), None);
        store.keep("node id", b"one").unwrap();
        store.keep("node id", b"other").unwrap();
        drop(store);
        let store = NodeFacts::open(directory.path()).unwrap();
        assert_eq!(store.kept("node id").unwrap().as_deref(), Some(&b"other"[..]));
        assert_eq!(store.get().unwrap(), Some(facts()));
    }

    #[test]
    fn other_facts_are_refused_and_change_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let store = NodeFacts::open(directory.path()).unwrap();
        store.establish(&facts()).unwrap();
        let others = [
            (
                "node id",
                Facts {
                    node_id: 3,
                    ..facts()
                },
            ),
            (
                "cluster id",
                Facts {
                    cluster_id: "test".to_string(),
                    ..facts()
                },
            ),
            (
                "shard count",
                Facts {
                    shard_count: 8,
                    ..facts()
                },
            ),
        ];
        for (name, other) in others {
            match store.establish(&other) {
                Err(FactsError::Mismatch { fact, .. }) => assert_eq!(fact, name),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(store.get().unwrap(), Some(facts()));
    }
}
