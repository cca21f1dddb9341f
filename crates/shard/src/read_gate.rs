//! Confirmed reads: one round to a quorum serves all who wait.

use std::sync::Arc;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::{Counters, add};
use crate::raft_types::Raft;

/// Why a read was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotConfirmed {
    /// This replica does not lead; perhaps it knows who does.
    NotLeader(Option<u64>),
    /// It could not reach a quorum in time.
    NoQuorum,
    /// Too many are waiting.
    Overloaded,
    /// It has stopped.
    Stopped,
}

type Confirmed = Result<(), NotConfirmed>;

/// Where reads wait for their confirmation. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadGate {
    waiting: mpsc::Sender<oneshot::Sender<Confirmed>>,
}

impl ReadGate {
    /// The gate and the task that works for it; the task ends with the last gate.
    pub(crate) fn new(raft: Raft, counters: Arc<Counters>, limit: usize) -> (Self, impl Future<Output = ()>) {
        let (waiting, arrivals) = mpsc::channel(limit);
        (Self { waiting }, confirm_all(raft, counters, arrivals))
    }

    /// When this returns, this replica led at some moment after the call, and its ledger has everything that was
    /// acknowledged before the call.
    pub(crate) async fn confirm(&self) -> Confirmed {
        let (sender, receiver) = oneshot::channel();
        match self.waiting.try_send(sender) {
            Ok(()) => receiver.await.unwrap_or(Err(NotConfirmed::Stopped)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(NotConfirmed::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NotConfirmed::Stopped),
        }
    }
}

/// Who comes while a round is on its way waits for the next one: the round may have begun before them.
async fn confirm_all(
    raft: Raft,
    counters: Arc<Counters>,
    mut arrivals: mpsc::Receiver<oneshot::Sender<Confirmed>>,
) {
    while let Some(first) = arrivals.recv().await {
        let mut waiting = vec![first];
        while let Ok(next) = arrivals.try_recv() {
            waiting.push(next);
        }
        add(&counters.read_rounds, 1);
        let confirmed = match raft.ensure_linearizable(ReadPolicy::ReadIndex).await {
            Ok(_) => Ok(()),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(forward))) => {
                Err(NotConfirmed::NotLeader(forward.leader_id))
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(NotConfirmed::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(NotConfirmed::Stopped),
        };
        for waiter in waiting {
            waiter.send(confirmed).ok();
        }
    }
}
