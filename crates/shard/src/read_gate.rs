//! Gate of confirmed reads: one round to a quorum serves all reads that wait.

use std::sync::Arc;

use openraft::ReadPolicy;
use openraft::errors::{LinearizableReadError, RaftError};
use tokio::sync::{mpsc, oneshot};

use crate::metrics::{Counters, add};
use crate::state_machine::Raft;

/// Reason why a read was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotConfirmed {
    /// This replica does not lead, and perhaps knows who does.
    NotLeader(Option<u64>),
    /// No quorum could be reached in time.
    NoQuorum,
    /// Too many reads are waiting.
    Overloaded,
    /// This replica has stopped.
    Stopped,
}

type Confirmed = Result<(), NotConfirmed>;

/// Gate where reads wait for their confirmation. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ReadGate {
    waiting: mpsc::Sender<oneshot::Sender<Confirmed>>,
}

impl ReadGate {
    /// Makes the gate and the task that works for it. The task ends with the last gate.
    pub(crate) fn new(raft: Raft, counters: Arc<Counters>, limit: usize) -> (Self, impl Future<Output = ()>) {
        let (waiting, arrivals) = mpsc::channel(limit);
        (Self { waiting }, confirm_all(raft, counters, arrivals))
    }

    /// Waits until it is certain that this replica led at some moment after the call. Its ledger then has
    /// everything that was acknowledged before the call.
    pub(crate) async fn confirm(&self) -> Confirmed {
        let (sender, receiver) = oneshot::channel();
        match self.waiting.try_send(sender) {
            Ok(()) => receiver.await.unwrap_or(Err(NotConfirmed::Stopped)),
            Err(mpsc::error::TrySendError::Full(_)) => Err(NotConfirmed::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(NotConfirmed::Stopped),
        }
    }
}

/// Confirms all waiting reads in rounds. A read that comes while a round is on its way waits for the next
/// one, because that round may have begun before the read.
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
