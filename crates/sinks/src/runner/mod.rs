//! Runs every sink: one task for each shard of each.
//!
//! - `shard.rs` is the task: open, read, write, settle, and what it does after each kind of error.
//! - `waiting.rs` remembers when the oldest change that is under way was made, for the lag.

mod shard;
mod waiting;

use std::sync::Arc;

use holdfast_client::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::sink::Sink;
use crate::status::Board;

/// The cluster that is read.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// Reads its changes.
    pub client: Client,
    /// Its id. A target with the changes of another cluster is refused.
    pub cluster_id: Uuid,
    /// Its shards.
    pub shards: Vec<u32>,
}

/// A sink with the name that it has in the configuration.
#[derive(Clone)]
pub struct NamedSink {
    /// The name.
    pub name: String,
    /// The sink.
    pub sink: Arc<dyn Sink>,
}

/// Delivers changes to these sinks until `stopping` is cancelled. Each sink then gets what was read, and the
/// call returns.
///
/// No error ends it: a target that is down is tried again with growing pauses, and one that says no is tried
/// again each half minute. The board shows both.
pub async fn run(cluster: &Cluster, sinks: &[NamedSink], board: &Board, stopping: &CancellationToken) {
    let mut tasks = JoinSet::new();
    for NamedSink { name, sink } in sinks {
        for shard in &cluster.shards {
            let entry = board.entry(name, *shard);
            let task = shard::Task::new(cluster.clone(), Arc::clone(sink), *shard, entry, stopping.clone());
            tasks.spawn(task.run());
        }
    }
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "a sink's task panicked, so the runner stops");
            stopping.cancel();
        }
    }
}
