//! Whether this replica may go on: alive, halted (its ledger stands still, its Raft goes on), or dead.

use std::sync::Arc;

use tokio::sync::watch;

use crate::halt::Halt;

/// Alive until somebody reports a reason to stop; the first reason stays. Halted until the obstacle is gone. Cheap to clone.
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

    /// The ledger stands still: nothing more is applied, and nobody is answered from it.
    pub(crate) fn halt(&self, halt: Halt) {
        tracing::error!(
            shard = self.shard,
            index = halt.index,
            cause = halt.cause.as_str(),
            %halt,
            "the replica is halted: its ledger applies nothing more; see cluster/runbooks/replica-halted.md"
        );
        self.halted.send_replace(Some(Arc::new(halt)));
    }

    /// The obstacle is gone.
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

    /// This replica is dead: a failed disk, a panic.
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

    pub(crate) fn failure(&self) -> Option<String> {
        self.dead.borrow().clone()
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.dead.borrow().is_some()
    }

    /// May the ledger be asked? It may be between two entries otherwise.
    pub(crate) fn can_answer(&self) -> bool {
        !self.is_dead() && !self.is_halted()
    }

    /// Resolves with the reason; never while all is well.
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
