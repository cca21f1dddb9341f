//! Route of a request from a caller to the leader and back. The leader may be here or on another node. The
//! request is repeated until there is an answer or no time is left.

mod query;
mod remote_replicas;
mod serve;
mod submit;

pub(crate) use query::query;
pub(crate) use remote_replicas::RemoteReplicas;
pub(crate) use serve::{not_here, serve};
pub(crate) use submit::submit;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::PeerTransport;
use crate::local_shard::{LocalShard, RunningReplica};
use crate::metrics::Counters;
use crate::replica::Replica;

/// Pause before asking again when nothing is known to have changed.
const PAUSE: Duration = Duration::from_millis(10);

/// Position of the asking node: it has a replica of the shard, or it has none.
#[derive(Clone, Copy)]
pub(crate) enum Origin<'a> {
    /// The node has this replica.
    Here(&'a Replica),
    /// The node has no replica.
    There(&'a RemoteReplicas),
}

impl<'a> Origin<'a> {
    fn of(place: &'a LocalShard, running: Option<&'a RunningReplica>) -> Self {
        match running {
            Some(running) => Self::Here(&running.replica),
            None => Self::There(&place.elsewhere),
        }
    }

    fn here(self) -> Option<&'a Replica> {
        match self {
            Self::Here(replica) => Some(replica),
            Self::There(_) => None,
        }
    }

    fn shard(self) -> u32 {
        match self {
            Self::Here(replica) => replica.options.shard,
            Self::There(elsewhere) => elsewhere.shard,
        }
    }

    fn transport(self) -> &'a Arc<dyn PeerTransport> {
        match self {
            Self::Here(replica) => &replica.transport,
            Self::There(elsewhere) => &elsewhere.transport,
        }
    }

    fn counters(self) -> &'a Counters {
        match self {
            Self::Here(replica) => &replica.counters,
            Self::There(elsewhere) => &elsewhere.counters,
        }
    }

    fn is_stopped(self) -> bool {
        self.here().is_some_and(Replica::is_no_help)
    }

    /// Returns the end of one attempt at another node. A node without a replica gets a limit, because it does
    /// not learn when another replica leads.
    fn attempt_until(self, deadline: Instant) -> Instant {
        match self {
            Self::Here(_) => deadline,
            Self::There(_) => deadline.min(Instant::now() + remote_replicas::ATTEMPT),
        }
    }
}

/// Choice of the replica to ask, by Raft ids: from what this node knows, or from what the last answer said.
struct Route<'a> {
    from: Origin<'a>,
    own_id: Option<u64>,
    leader: watch::Receiver<Option<u64>>,
    hint: Option<u64>,
}

impl<'a> Route<'a> {
    fn new(from: Origin<'a>) -> Self {
        let (own_id, leader) = match from {
            Origin::Here(replica) => (Some(replica.options.raft_id()), replica.leader.clone()),
            Origin::There(elsewhere) => (None, elsewhere.leader()),
        };
        Self {
            from,
            own_id,
            leader,
            hint: None,
        }
    }

    /// Returns the replica to ask next.
    fn next(&mut self) -> Option<u64> {
        let known = *self.leader.borrow_and_update();
        self.hint.take().or(known).or_else(|| match self.from {
            Origin::Here(_) => None,
            Origin::There(elsewhere) => elsewhere.anyone(),
        })
    }

    /// Records that `asked` does not lead. It may have said who does.
    fn not_leader(&mut self, asked: u64, says: Option<u64>) {
        self.hint = says.filter(|says| *says != asked && Some(*says) != self.own_id);
        if let Origin::There(elsewhere) = self.from {
            elsewhere.learned(asked, self.hint);
        }
    }

    /// Records that `asked` did something that only a leader does.
    fn led(&self, asked: u64) {
        if let Origin::There(elsewhere) = self.from {
            elsewhere.learned(asked, Some(asked));
        }
    }

    /// Waits for a moment, or until another leader is known.
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
