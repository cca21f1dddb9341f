//! A copy of a shard's ledger, taken while the shard stands still.
//!
//! ```text
//!  freeze: nothing new is proposed ── all proposals applied ── read index R ── frozen
//!                                                                             │  whatever else has to happen
//!  copy of the ledger: applied = R? <── cut ──────────────────────────────────┘
//!  read index again = R? ── lift
//! ```
//!
//! The freeze only makes it likely that the shard stands still, so the cut checks it. A read index is the
//! last committed entry, confirmed by a quorum. When it is the same entry before and after, nothing was
//! committed in between. This is so however long the freeze lasted and whoever led meanwhile, because a new
//! leader first commits an entry of its own.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use holdfast_ledger::Ledger;
use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::Threads;
use crate::proposer::{Freeze, Thaw};
use crate::raft_types::LogId;
use crate::replica::Replica;
use crate::replica_id::node_of;

/// Reason why a shard was not frozen or cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CutError {
    /// This replica does not lead, and only the leader can do it.
    #[error("this replica does not lead the shard")]
    NotLeader {
        /// The leading node, as far as this replica knows.
        leader: Option<u64>,
    },
    /// Another freeze is in place.
    #[error("the shard is frozen already, for another backup")]
    AlreadyFrozen,
    /// The lease ended, or a quorum was out of reach, before everything proposed was applied.
    #[error("the shard did not stand still in time: try again")]
    NotInTime,
    /// Something was committed between freeze and cut, because the lease ended or another replica leads.
    #[error("the shard did not stand still until it was copied: try again")]
    Moved,
    /// This replica is stopping or dead.
    #[error("this replica of the shard has stopped")]
    Stopped,
}

/// A freeze of a shard. The shard stands still while this value lives, but no longer than the lease.
pub struct ShardFreeze {
    replica: Arc<Replica>,
    number: u64,
    /// The last committed entry; `None` until the shard stands still.
    at: Option<LogId>,
    since: Instant,
    lease: Duration,
}

/// A ledger, and its position in the log. Shares all unchanged data with the shard's own ledger.
#[derive(Debug)]
pub struct ShardCut {
    /// Number of the shard.
    pub shard: u32,
    /// The term of the last entry.
    pub term: u64,
    /// The index of the last entry. That may be an entry of Raft itself, after the last entry of the ledger.
    pub log_index: u64,
    /// Time during which nothing new went to the log.
    pub frozen: Duration,
    /// Copy of the shard's ledger.
    pub ledger: Ledger,
    threads: Threads,
}

impl ShardFreeze {
    pub(crate) async fn take(replica: Arc<Replica>, lease: Duration) -> Result<Self, CutError> {
        if replica.is_silent() {
            return Err(CutError::Stopped);
        }
        if !replica.leads() {
            let leader = replica.leader.borrow().map(node_of);
            return Err(CutError::NotLeader { leader });
        }
        let (drained, is_drained) = oneshot::channel();
        let since = Instant::now();
        let number = replica
            .proposer
            .send(Freeze { lease, drained })
            .await
            .map_err(|_| CutError::Stopped)?
            .map_err(|_| CutError::AlreadyFrozen)?;
        // From here on, dropping this value ends the freeze.
        let mut freeze = Self {
            replica,
            number,
            at: None,
            since,
            lease,
        };
        is_drained.await.map_err(|_| CutError::NotInTime)?;
        freeze.at = Some(freeze.read_index().await?);
        Ok(freeze)
    }

    /// Copies the ledger and lets the shard go on.
    ///
    /// # Errors
    /// [`CutError::Moved`] when the shard did not stand still. Then this freeze cannot give a copy.
    pub async fn cut(self) -> Result<ShardCut, CutError> {
        let (applied, ledger) = {
            let state = self.replica.state.read().await;
            // The replica may have died while it applied an entry. Then its ledger is between two entries.
            if !self.replica.health.can_answer() {
                return Err(CutError::Stopped);
            }
            (state.applied, state.ledger.clone())
        };
        let at = self.read_index().await?;
        if self.at != Some(at) || applied != Some(at) {
            return Err(CutError::Moved);
        }
        Ok(ShardCut {
            shard: self.replica.options.shard,
            term: at.leader_id.term,
            log_index: at.index,
            frozen: self.since.elapsed(),
            ledger,
            threads: self.replica.host.threads,
        })
    }

    /// Returns the last committed entry, confirmed by a quorum, once it is applied here.
    async fn read_index(&self) -> Result<LogId, CutError> {
        let confirmed = self.replica.raft.ensure_linearizable(ReadPolicy::ReadIndex);
        let patience = self.lease.saturating_sub(self.since.elapsed());
        match tokio::time::timeout(patience, confirmed).await {
            Ok(Ok(read)) => Ok(*read.log_id()),
            Ok(Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward)))) => {
                Err(CutError::NotLeader {
                    leader: forward.leader_id.map(node_of),
                })
            }
            Ok(Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_)))) | Err(_) => {
                Err(CutError::NotInTime)
            }
            Ok(Err(RaftError::Fatal(_))) => Err(CutError::Stopped),
        }
    }
}

impl Drop for ShardFreeze {
    fn drop(&mut self) {
        self.replica.proposer.do_send(Thaw(self.number));
    }
}

impl ShardCut {
    /// Encodes the ledger and checks its invariants, while the shard runs. Returns the bytes of
    /// [`Ledger::encode`] and the digest of the ledger, which is computed separately.
    ///
    /// # Errors
    /// An invariant does not hold, or there is no thread for the work.
    pub async fn encode(self) -> io::Result<(Vec<u8>, [u8; 32])> {
        let (threads, ledger) = (self.threads, self.ledger);
        let work = move || {
            ledger.check().map_err(io::Error::other)?;
            Ok((ledger.encode(), ledger.digest()))
        };
        threads.in_background(work).await
    }
}
