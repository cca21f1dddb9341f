//! Health of a replica: alive, halted (its ledger stands still, its Raft goes on), or dead.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use tokio::sync::watch;

use crate::halt::Halt;

/// State of a replica. It is alive until somebody reports a reason to stop, and the first reason stays. It is
/// halted until the obstacle is gone. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    shard: u32,
    dead: Arc<watch::Sender<Option<String>>>,
    halted: Arc<watch::Sender<Option<Arc<Halt>>>>,
}

impl Health {
    pub(crate) fn new(shard: u32) -> Self {
        Self {
            shard,
            dead: Arc::new(watch::Sender::new(None)),
            halted: Arc::new(watch::Sender::new(None)),
        }
    }

    /// Halts the replica. Its ledger stands still: nothing more is applied, and nobody is answered from it.
    pub(crate) fn halt(&self, halt: Halt) {
        tracing::error!(
            shard = self.shard,
            index = halt.index,
            cause = halt.cause.as_str(),
            %halt,
            "the replica is halted, so its ledger applies nothing more; see cluster/runbooks/replica-halted.md"
        );
        self.halted.send_replace(Some(Arc::new(halt)));
    }

    /// Resumes the replica, because the obstacle is gone.
    pub(crate) fn resume(&self) {
        if let Some(halt) = self.halted.send_replace(None) {
            tracing::warn!(shard = self.shard, index = halt.index, "the replica goes on");
        }
    }

    pub(crate) fn halted(&self) -> Option<Arc<Halt>> {
        self.halted.borrow().clone()
    }

    pub(crate) fn is_halted(&self) -> bool {
        self.halted.borrow().is_some()
    }

    /// Returns a receiver that sees each halt and its end.
    pub(crate) fn watch_halted(&self) -> watch::Receiver<Option<Arc<Halt>>> {
        self.halted.subscribe()
    }

    /// Marks the replica as dead, after a failed disk or a panic.
    pub(crate) fn fail(&self, why: impl Into<String>) {
        let why = why.into();
        self.dead.send_if_modified(|dead| {
            let first = dead.is_none();
            if first {
                tracing::error!(shard = self.shard, reason = %why, "the replica must stop");
                *dead = Some(why);
            }
            first
        });
    }

    /// Runs a task of the replica. If the task panics, the replica is marked as dead. Otherwise it would go
    /// on without the task, and nobody would notice.
    pub(crate) fn fails_with<F: Future>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = ()> + use<F> {
        let health = self.clone();
        async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                health.fail(format!("the task `{name}` panicked"));
            }
        }
    }

    pub(crate) fn failure(&self) -> Option<String> {
        self.dead.borrow().clone()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.borrow().is_some()
    }

    /// Returns whether the ledger can be asked. If not, it may be between two entries.
    pub(crate) fn can_answer(&self) -> bool {
        !self.is_dead() && !self.is_halted()
    }

    /// Resolves with the reason when the replica is dead. Never resolves before.
    pub(crate) fn wait(&self) -> impl Future<Output = String> + Send + use<> {
        let mut receiver = self.dead.subscribe();
        async move {
            let reason = match receiver.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone(),
                Err(_) => None,
            };
            match reason {
                Some(reason) => reason,
                None => std::future::pending().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_kills_its_replica_and_one_that_ends_does_not() {
        let health = Health::new(3);
        health.fails_with("calm", async {}).await;
        assert!(!health.is_dead());
        health.fails_with("nervous", async { panic!("planted") }).await;
        assert_eq!(health.failure().as_deref(), Some("the task `nervous` panicked"));
    }
}
