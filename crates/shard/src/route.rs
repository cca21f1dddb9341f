//! From a caller to the leader and back: here or on another node, again until there is an answer or no time left.

mod query;
mod serve;
mod submit;

pub(crate) use query::{age_ms, query};
pub(crate) use serve::serve;
pub(crate) use submit::submit;

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::replica::Replica;

/// How long to wait before asking again when nothing is known to have changed.
const PAUSE: Duration = Duration::from_millis(10);

/// Who to ask: what this replica knows, or what the one asked last said.
struct Route {
    own_id: u64,
    leader: watch::Receiver<Option<u64>>,
    hint: Option<u64>,
}

impl Route {
    fn new(replica: &Replica) -> Self {
        Self {
            own_id: replica.options.node_id,
            leader: replica.leader.clone(),
            hint: None,
        }
    }

    /// The node to ask next.
    fn next(&mut self) -> Option<u64> {
        let known = *self.leader.borrow_and_update();
        self.hint.take().or(known)
    }

    /// `asked` does not lead; it may have said who does.
    fn not_leader(&mut self, asked: u64, says: Option<u64>) {
        self.hint = says.filter(|says| *says != asked && *says != self.own_id);
    }

    /// Waits a moment, shorter when another leader shows up.
    async fn pause(&mut self, deadline: Instant) {
        if self.hint.is_none() {
            let until = deadline.min(Instant::now() + PAUSE);
            tokio::time::timeout_at(until, self.leader.changed()).await.ok();
        }
    }

    /// Resolves when `asked` is known not to lead any more.
    async fn deposed(&self, asked: u64) {
        let mut leader = self.leader.clone();
        if leader
            .wait_for(|leader| leader.is_some_and(|leader| leader != asked))
            .await
            .is_err()
        {
            std::future::pending::<()>().await;
        }
    }
}
