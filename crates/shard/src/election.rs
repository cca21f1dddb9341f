//! Elections: when a follower stands for one, and when it would vote for another replica.
//!
//! openraft's own timers begin an election after a leader's lease and a randomly chosen timeout, about three
//! times the longest timeout. They stay as the last resort. Before they fire, each replica with a vote
//! watches its leader here:
//!
//! ```text
//!  the leader's process is gone      the first in turn asks ─> a quorum agrees ─> it stands     0 ms
//!    (its connection broke and       the second in turn asks, unless another one leads           max - min
//!     its port refuses a new one)
//!
//!  the leader is silent              the first in turn asks ...                                 min
//!                                    the second in turn asks ...                                max
//! ```
//!
//! To ask is Raft's pre-vote: nothing is written, and no term begins. A replica agrees only when it misses
//! the leader as well, and when the asking replica's log has everything that its own log has. So a replica
//! disturbs nobody when it was starved, paused or cut off, or when only its way to the leader is broken.
//!
//! With a quorum's consent a replica stands as after a leadership transfer: voters do not wait for the old
//! leader's lease. Nothing in this crate relies on that lease. Reads, and refusals that come from a read, are
//! confirmed by a round to a quorum that begins after them (`read_gate.rs`), and nothing is acknowledged
//! before it is committed.

mod campaign;
mod consent;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use openraft::raft::{VoteRequest, VoteResponse};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::GoneNodes;
use crate::raft_types::{LogId, Types, Vote};
use crate::replica_id::node_of;

pub(crate) use campaign::campaign;
use consent::{Standing, would_vote};

/// Time after the end of a process in which its last messages may still arrive.
const LAST_WORDS: Duration = Duration::from_millis(50);

/// Election options of one replica: its group, its id, and how long replicas wait for each other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ElectionOptions {
    /// The number of the shard or other group. Replicas take turns in an order that differs between groups.
    pub(crate) group: u32,
    /// Raft id of this replica.
    pub(crate) own_id: u64,
    /// Silence after which a leader is missed.
    pub(crate) timeout_min: Duration,
    /// Silence after which the last in turn asks.
    pub(crate) timeout_max: Duration,
}

/// Returns the least and the greatest timeout for openraft, in milliseconds. They are for replicas that stand
/// for election as this module describes. The greatest is also the lease of a leader.
pub(crate) fn fallback_timeouts_ms(timeout_max_ms: u64) -> (u64, u64) {
    (timeout_max_ms, timeout_max_ms.saturating_mul(2))
}

/// Observations of a replica about its leader, made beside Raft. Clones share them.
#[derive(Clone)]
pub(crate) struct LeaderWatch {
    options: ElectionOptions,
    shared: Arc<Shared>,
}

struct Shared {
    /// The last sign of a leader. Before a leader speaks it is the time of the start, because a new replica
    /// has missed nobody yet.
    heard: Mutex<LastContact>,
    /// The nodes whose processes are gone.
    gone: watch::Receiver<GoneNodes>,
    /// Notifies this replica when one with a shorter log would stand.
    urged: Notify,
}

#[derive(Debug, Clone, Copy)]
struct LastContact {
    at: Instant,
    /// Whether a leader spoke since the start.
    spoke: bool,
}

impl LeaderWatch {
    pub(crate) fn new(options: ElectionOptions, gone: watch::Receiver<GoneNodes>) -> Self {
        let heard = LastContact {
            at: Instant::now(),
            spoke: false,
        };
        Self {
            options,
            shared: Arc::new(Shared {
                heard: Mutex::new(heard),
                gone,
                urged: Notify::new(),
            }),
        }
    }

    /// Records that a leader spoke under `vote`, where `own` is the vote of this replica. A leader of an
    /// earlier term does not count.
    pub(crate) fn heard(&self, vote: &Vote, own: &Vote) {
        if vote >= own {
            *self.shared.heard.lock() = LastContact {
                at: Instant::now(),
                spoke: true,
            };
        }
    }

    fn silence(&self) -> LastContact {
        *self.shared.heard.lock()
    }

    /// Returns since when the process of the leader's node is gone, if it is. A leader that was heard later
    /// is back.
    fn gone_since(&self, leader: u64) -> Option<Instant> {
        let since = self.shared.gone.borrow().get(&node_of(leader)).copied()?;
        (self.silence().at <= since + LAST_WORDS).then_some(since)
    }

    /// Answers a replica that asks whether this one would vote for it. Where this replica leads, `leads` is
    /// the time since a quorum answered it.
    pub(crate) fn answer(
        &self,
        request: &VoteRequest<Types>,
        (vote, last_log): (Vote, Option<LogId>),
        leads: Option<Duration>,
    ) -> VoteResponse<Types> {
        let leader = vote.is_committed().then(|| vote.leader_id().node_id);
        let patience = self.options.timeout_min;
        let misses_leader = match leads {
            Some(unanswered_for) => unanswered_for >= patience,
            None => {
                leader.is_some_and(|leader| self.gone_since(leader).is_some())
                    || self.silence().at.elapsed() >= patience
            }
        };
        let standing = Standing {
            vote,
            last_log,
            misses_leader,
        };
        let granted = would_vote(request, &standing);
        if !granted && misses_leader && leads.is_none() && request.last_log_id < last_log {
            self.shared.urged.notify_one();
        }
        VoteResponse::new(vote, last_log, granted)
    }
}
