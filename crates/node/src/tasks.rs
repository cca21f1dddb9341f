//! The background tasks of a node. Each has a name and is counted. A panic in one is reported to the node,
//! which then stops.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures::FutureExt as _;
use holdfast_shard::Threads;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Spawns tasks and waits for them. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    panics: mpsc::UnboundedSender<String>,
}

impl Tasks {
    /// Returns an empty set of tasks, and a receiver that gets a sentence for each task that panics.
    pub(crate) fn new() -> (Self, mpsc::UnboundedReceiver<String>) {
        let (panics, received) = mpsc::unbounded_channel();
        (
            Self {
                tracker: TaskTracker::new(),
                panics,
            },
            received,
        )
    }

    /// Starts a task in the current tokio runtime.
    pub(crate) fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let panics = self.panics.clone();
        self.tracker.spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                // The receiver is gone only when the node is gone.
                let _ = panics.send(format!("the task `{name}` panicked"));
            }
        });
    }

    /// Starts a task in the current tokio runtime. The task ends at the latest when `stopping` is cancelled.
    pub(crate) fn spawn_until(
        &self,
        stopping: &CancellationToken,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stopping = stopping.clone();
        self.spawn(name, async move {
            tokio::select! {
                () = task => {}
                () = stopping.cancelled() => {}
            }
        });
    }

    /// Starts a task where this node's replicas run: on the caller's `LocalSet` if they share its thread.
    pub(crate) fn spawn_beside_replicas(
        &self,
        threads: Threads,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        match threads {
            Threads::Own => self.spawn(name, task),
            Threads::Shared | Threads::Caller => {
                let panics = self.panics.clone();
                self.tracker.spawn_local(async move {
                    if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                        let _ = panics.send(format!("the task `{name}` panicked"));
                    }
                });
            }
        }
    }

    /// Waits for all tasks, at most for `patience`. Returns false if some are still running.
    pub(crate) async fn finish(&self, patience: Duration) -> bool {
        self.tracker.close();
        tokio::time::timeout(patience, self.tracker.wait()).await.is_ok()
    }
}
