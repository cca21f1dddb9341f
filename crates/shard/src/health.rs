//! Whether this replica may go on.

use std::sync::Arc;

use tokio::sync::watch;

/// Alive until somebody reports a reason to stop; the first reason stays. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Health {
    shard: u32,
    dead: Arc<watch::Sender<Option<String>>>,
}

impl Health {
    pub(crate) fn new(shard: u32) -> Self {
        Self {
            shard,
            dead: Arc::new(watch::Sender::new(None)),
        }
    }

    /// This replica is dead: a violated invariant, a failed disk, a panic.
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
