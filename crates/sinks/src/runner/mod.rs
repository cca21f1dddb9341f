//! Runs every sink: one task for each shard of each.
//!
//! - `shard.rs` is the task: open, read, write, settle, and what it does after each kind of error.
//! - `consumers.rs` tells the cluster how far each sink is.
//! - `waiting.rs` remembers when the oldest change that is under way was made, for the lag.

mod consumers;
mod shard;
mod waiting;

use std::sync::Arc;

use holdfast_client::Client;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use crate::ends::{self, Ends};
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

/// All sinks of one cluster.
pub struct Runner {
    cluster: Cluster,
    sinks: Vec<NamedSink>,
    board: Board,
    ends: watch::Sender<Ends>,
    registers: bool,
}

impl Runner {
    /// Makes a runner. Nothing happens until it runs.
    pub fn new(cluster: Cluster, sinks: Vec<NamedSink>) -> Self {
        let (ends, known) = watch::channel(Ends::default());
        Self {
            cluster,
            sinks,
            board: Board::new(known),
            ends,
            registers: true,
        }
    }

    /// Makes the runner silent towards the cluster: its sinks are no consumers there.
    #[must_use]
    pub(crate) fn unregistered(mut self) -> Self {
        self.registers = false;
        self
    }

    /// Returns how everything stands. It stays up to date.
    pub fn board(&self) -> Board {
        self.board.clone()
    }

    /// Delivers changes until `stopping` is cancelled. Each sink then gets what was read, and the call
    /// returns.
    ///
    /// No error ends it: a target that is down is tried again with growing pauses, and one that says no at
    /// least each half minute. The board shows both.
    pub async fn run(self, stopping: &CancellationToken) {
        let mut tasks = JoinSet::new();
        let known = self.ends.subscribe();
        let _asking =
            AbortOnDropHandle::new(tokio::spawn(ends::watch(self.cluster.client.clone(), self.ends)));
        let locations = self
            .sinks
            .iter()
            .filter_map(|named| Some((named.name.clone(), named.sink.location()?)))
            .collect();
        let client = self.cluster.client.clone();
        let _telling = self.registers.then(|| {
            AbortOnDropHandle::new(tokio::spawn(consumers::tell(
                client,
                locations,
                self.board.clone(),
            )))
        });
        for NamedSink { name, sink } in &self.sinks {
            for shard in &self.cluster.shards {
                let task = shard::Task {
                    cluster: self.cluster.clone(),
                    sink: Arc::clone(sink),
                    shard: *shard,
                    entry: self.board.entry(name, *shard),
                    ends: known.clone(),
                    stopping: stopping.clone(),
                };
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
}
