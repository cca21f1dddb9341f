//! The parts of a start that have to be ended when a later step fails.

use std::sync::Arc;

use holdfast_storage::Log;
use tokio_util::sync::CancellationToken;

use crate::directory::Membership;

/// The parts that the steps of a start have started so far.
pub(super) struct Begun {
    /// Ends the peers' streams and servers.
    pub(super) peers_stopping: CancellationToken,
    pub(super) membership: Option<Arc<Membership>>,
    pub(super) log: Option<Log>,
}

impl Begun {
    pub(super) fn new() -> Self {
        Self {
            peers_stopping: CancellationToken::new(),
            membership: None,
            log: None,
        }
    }

    /// Ends these parts.
    pub(super) async fn undo(self) {
        if let Some(membership) = self.membership {
            for shard in membership.shards().iter() {
                shard.stop().await;
            }
            membership.stop().await;
        }
        self.peers_stopping.cancel();
        if let Some(log) = self.log {
            let closed = tokio::task::spawn_blocking(move || log.close()).await;
            if !matches!(closed, Ok(Ok(()))) {
                tracing::warn!("the log was not closed cleanly after a failed start");
            }
        }
    }
}
