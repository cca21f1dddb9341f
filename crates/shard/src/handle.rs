//! What the node holds of a shard.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_ledger::{Command, Outcome, Query};
use tokio::time::Instant;

use crate::leadership;
use crate::replica::{self, Replica, Stopper};
use crate::route;
use crate::state_machine::View;
use crate::{
    Answer, ChangeReader, CutError, Freshness, Host, PeerMessageError, PeerTransport, QueryError,
    ReplicaStatus, ShardHold, ShardMetrics, ShardOptions, ShardStores, StartError, SubmitError,
    TransferError,
};

/// Recovers a replica from its stores and starts it on a thread of its own.
///
/// # Errors
/// See [`StartError`].
pub async fn start(
    options: ShardOptions,
    stores: ShardStores,
    transport: Arc<dyn PeerTransport>,
) -> Result<ShardHandle, StartError> {
    start_on(Host::default(), options, stores, transport).await
}

/// [`start`] on a machine of the caller's making. Unless the replica gets a thread [of its own](crate::Threads::Own) this
/// must be called in a `LocalSet`, and the replica lives there.
///
/// # Errors
/// See [`StartError`].
pub async fn start_on(
    host: Host,
    options: ShardOptions,
    stores: ShardStores,
    transport: Arc<dyn PeerTransport>,
) -> Result<ShardHandle, StartError> {
    let (replica, stopper) = replica::start(host, options, stores, transport).await?;
    Ok(ShardHandle {
        replica: Arc::new(replica),
        stopper: Arc::new(stopper),
    })
}

/// One replica of a shard on this node, whether it leads or not. Cheap to clone. The replica ends with
/// [`Self::stop`], or unclean with its last handle.
#[derive(Clone)]
pub struct ShardHandle {
    replica: Arc<Replica>,
    stopper: Arc<Stopper>,
}

impl ShardHandle {
    /// Which shard.
    pub fn shard(&self) -> u32 {
        self.replica.options.shard
    }

    /// Has commands decided, here or at the leader on another node. One result for each, in their order. The commands of
    /// one call are decided in their order, but other callers' may be decided between them. Asks again with the same
    /// operation ids until the deadline. Dropping the future takes nothing back.
    pub async fn submit(
        &self,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Vec<Result<Outcome, SubmitError>> {
        route::submit(&self.replica, commands, deadline).await
    }

    /// Answers a query, here or at the leader on another node.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(
        &self,
        query: Query,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Answer, QueryError> {
        route::query(&self.replica, query, freshness, deadline).await
    }

    /// How this replica stands.
    pub fn status(&self) -> ReplicaStatus {
        self.replica.status()
    }

    /// Resolves when this replica has orders over several shards under way: a decision that a participant has not followed, or
    /// units that wait for one. Never resolves once the replica has ended.
    pub async fn orders_under_way(&self) {
        let mut view = self.replica.view.clone();
        let busy = |view: &View| view.unsettled_orders + view.prepared_reservations > 0;
        let ended = view.wait_for(busy).await.is_err();
        if ended {
            std::future::pending::<()>().await;
        }
    }

    /// Does this replica lead, as far as it knows?
    pub fn leads(&self) -> bool {
        self.replica.leads()
    }

    /// Who leads, as far as this replica knows.
    pub fn leader(&self) -> Option<u64> {
        *self.replica.leader.borrow()
    }

    /// What this replica counted.
    pub fn metrics(&self) -> ShardMetrics {
        self.replica.counters.snapshot()
    }

    /// By how much each peer's clock is ahead of this node's, in milliseconds, as last heard. Peers tell their clocks to
    /// the leader with every answer and to candidates with their votes: of a replica that never stood for election it
    /// is empty.
    pub fn clock_skew_ms(&self) -> BTreeMap<u64, i64> {
        self.replica.clock.ahead_ms()
    }

    /// The changes, from this replica.
    pub fn changes(&self) -> ChangeReader {
        ChangeReader::new(self.replica.changes.clone(), self.replica.last_seq.clone())
    }

    /// Takes a Raft message that a peer sent with [`PeerTransport::raft`]. It is handed over before this function returns;
    /// the future is the answer. Call it in the order in which the peer's messages came, and do not wait for one answer
    /// before the next call.
    pub fn handle_raft(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, PeerMessageError>> + Send + use<> {
        self.replica.inbound.raft(&payload)
    }

    /// Takes a snapshot that a peer sent with [`PeerTransport::snapshot`].
    ///
    /// # Errors
    /// See [`PeerMessageError`].
    pub async fn handle_snapshot(
        &self,
        header: Bytes,
        data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> Result<Bytes, PeerMessageError> {
        self.replica.inbound.snapshot(&header, data).await
    }

    /// Takes a request that a peer sent with [`PeerTransport::forward`]. Errors travel inside the answer.
    pub async fn handle_forward(&self, payload: Bytes) -> Bytes {
        route::serve(&self.replica, &payload).await
    }

    /// Would this other node be ready to lead soon? Only a leader can say so: it was heard lately and lacks little of the log.
    pub fn is_near(&self, node: u64) -> bool {
        leadership::is_near(&self.replica, node)
    }

    /// Hands leadership to `to`, or to the replica that is closest. Returns the new leader.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, TransferError> {
        leadership::transfer(&self.replica, to).await
    }

    /// Resolves with the reason when this replica is dead (violated invariant, failed disk): the node must stop.
    /// Never resolves after an ordinary [`Self::stop`].
    pub fn fatal(&self) -> impl Future<Output = String> + Send + use<> {
        self.replica.health.wait()
    }

    /// Has a leading replica stand still: what is proposed is applied, and nothing new goes to the log until the hold is
    /// [cut](ShardHold::cut) or dropped, or the lease is over. Whoever submits waits so long.
    ///
    /// # Errors
    /// See [`CutError`].
    pub async fn hold(&self, lease: Duration) -> Result<ShardHold, CutError> {
        ShardHold::take(Arc::clone(&self.replica), lease).await
    }

    /// Hands over leadership if it leads, then stops. Idempotent.
    pub async fn stop(&self) {
        if self.replica.leads()
            && !self.replica.is_stopped()
            && let Err(error) = leadership::transfer(&self.replica, None).await
        {
            tracing::info!(shard = self.shard(), %error, "leadership was not handed over");
        }
        self.stopper.stop().await;
    }

    /// Stops without handing over, as a crash would.
    #[cfg(test)]
    pub(crate) async fn halt(&self) {
        self.stopper.stop().await;
    }

    /// Has the ledger apply an entry that is not in the log.
    #[cfg(test)]
    pub(crate) async fn break_ledger(&self, entry: &holdfast_ledger::Entry) {
        let mut state = self.replica.state.write().await;
        state.ledger.apply(1 << 40, entry).unwrap();
    }
}
