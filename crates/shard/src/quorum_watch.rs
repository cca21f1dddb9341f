//! Quorum watch: a leader that no quorum answers falls silent, so that the others can elect one that hears
//! them and that they hear.
//!
//! Raft's followers stand for election when they hear no leader. A leader that can send but hears nothing
//! (its link is cut in one direction) would keep them for ever. It can commit nothing, and its messages,
//! heartbeats and repeated entries, keep the others from an election.
//!
//! ```text
//!  the last answer of a quorum      a lease without one       silent for a period      speaking, ...
//!  ────────────┼───────────── heard ─────────┼────────────────────────┼────────────────────────┼─────────
//!  followers:                                └─ lease ends, election ─┘
//! ```
//!
//! The leader speaks again from time to time, since nobody answers a leader that is silent. openraft has such
//! periods for heartbeats (`quorum_loss_probe_interval`), but not for entries, which it sends again whenever
//! they are not answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use tokio::time::Instant;

use crate::ShardOptions;
use crate::state_machine::Raft;

/// Length of a period of silence, in leases. The followers' leases end in the first one, their election
/// timeouts in the second.
const PERIOD_LEASES: u32 = 2;

/// Whether a leader must be silent. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct QuorumWatch {
    is_silent: Arc<AtomicBool>,
}

impl QuorumWatch {
    /// Returns whether nothing may be sent that keeps followers from electing another leader.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// Watches until Raft ends, once in each heartbeat interval, and makes a leader send its heartbeat then.
    pub(crate) async fn run(self, raft: Raft, options: ShardOptions) {
        let interval = Duration::from_millis(options.heartbeat_ms);
        // The time for which openraft lets a leader take proposals without an answer of a quorum.
        let lease = options.lease();
        let mut server = raft.server_metrics();
        // The leader's term, and since when it leads.
        let mut leading: Option<(u64, Instant)> = None;
        loop {
            match tokio::time::timeout(interval, server.changed()).await {
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(_)) => return,
            }
            let (term, unheard_for) = {
                let metrics = raft.metrics();
                let metrics = metrics.borrow_watched();
                let others = metrics
                    .membership_config
                    .voter_ids()
                    .filter(|voter| *voter != options.raft_id());
                let leads = metrics.state == openraft::ServerState::Leader && others.count() > 0;
                let acked = metrics.last_quorum_acked.as_ref();
                (
                    leads.then_some(metrics.current_term),
                    acked.map(|at| openraft::Instant::elapsed(&**at)),
                )
            };
            leading = term.map(|term| match leading {
                Some((since_term, since)) if since_term == term => (term, since),
                _ => (term, Instant::now()),
            });
            let silent = leading.is_some_and(|(_, since)| {
                // A new leader was heard by a quorum when it was elected.
                let unheard_for = unheard_for.map_or(since.elapsed(), |age| age.min(since.elapsed()));
                has_to_be_silent(unheard_for, lease)
            });
            if leading.is_some() && raft.trigger().heartbeat().await.is_err() {
                return;
            }
            if self.is_silent.swap(silent, Ordering::Relaxed) != silent {
                tracing::info!(
                    shard = options.shard,
                    silent,
                    "no quorum answers this leader, so it is silent at times and another one can be elected"
                );
            }
        }
    }
}

fn has_to_be_silent(unheard_for: Duration, lease: Duration) -> bool {
    let Some(over) = unheard_for.checked_sub(lease) else {
        return false;
    };
    let period = (lease * PERIOD_LEASES).max(Duration::from_millis(1));
    (over.as_millis() / period.as_millis()).is_multiple_of(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_is_silent_after_a_lease_without_answers_and_then_by_turns() {
        let lease = Duration::from_millis(500);
        let silent = |ms| has_to_be_silent(Duration::from_millis(ms), lease);
        let told: Vec<bool> = [0, 499, 500, 1_499, 1_500, 2_499, 2_500, 3_499]
            .into_iter()
            .map(silent)
            .collect();
        assert_eq!(
            told,
            [false, false, true, true, false, false, true, true],
            "a lease, then periods of two leases"
        );
    }
}
