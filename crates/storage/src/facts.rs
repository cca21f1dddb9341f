//! What a node must never forget about itself.
use std::path::Path;

/// Who a node is. Set once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Number of the node in its cluster.
    pub node_id: u64,
    /// Name of the cluster.
    pub cluster_id: String,
    /// Shards in the cluster.
    pub shard_count: u32,
}

/// Why the facts could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// The configuration says something else than the data directory.
    #[error("{directory} belongs to {fact} {stored}, the configuration says {configured}; use the right data directory or correct the configuration")]
    Mismatch {
        /// The directory.
        directory: String,
        /// Which fact.
        fact: &'static str,
        /// What is stored.
        stored: String,
        /// What is configured.
        configured: String,
    },
    /// The store cannot be read or written.
    #[error("cannot {operation} {directory}: {source}")]
    Store {
        /// What was being done.
        operation: &'static str,
        /// The directory.
        directory: String,
        /// What went wrong.
        source: sled::Error,
    },
}

/// A node's facts.
pub struct NodeFacts {}

#[allow(unused_variables, missing_docs)]
impl NodeFacts {
    pub fn open(dir: &Path) -> Result<NodeFacts, FactsError> {
        Ok(NodeFacts {})
    }
    /// What is stored, `None` in a new directory.
    pub fn get(&self) -> Result<Option<Facts>, FactsError> {
        Ok(None)
    }
    /// Stores the facts in a new directory; in a used one, fails unless they are the same.
    pub fn establish(&self, configured: &Facts) -> Result<(), FactsError> {
        Ok(())
    }
}
