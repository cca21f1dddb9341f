//! Handle of a shard, by which the node uses it.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::Either;
use futures::stream::BoxStream;
use holdfast_ledger::{Command, Outcome, Query};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::decide;
use crate::local_shard::{LocalShard, RunningReplica};
use crate::membership::{self, MembershipError, Step, Target};
use crate::replica;
use crate::replica_id::node_of;
use crate::route::{self, RemoteReplicas};
use crate::state_machine::View;
use crate::{
    Answer, ChangeReadError, ChangeReader, ConsumerStatus, CutError, DecideError, EntryRule, Freshness, Host,
    PeerMessageError, PeerTransport, QueryError, ReplicaId, ReplicaStatus, ShardFreeze, ShardMetrics,
    ShardOptions, ShardStores, StartError, SubmitError, TransferError,
};

/// Recovers a replica from its stores and starts it on its own thread.
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

/// Starts a replica as [`start`] does, on the machine that `host` describes. Must be called in a `LocalSet`,
/// where the replica then lives, unless the replica has [its own](crate::Threads::Own) thread.
///
/// # Errors
/// See [`StartError`].
pub async fn start_on(
    host: Host,
    options: ShardOptions,
    stores: ShardStores,
    transport: Arc<dyn PeerTransport>,
) -> Result<ShardHandle, StartError> {
    let handle = ShardHandle::elsewhere(options.shard, options.node_id, transport);
    handle.take_seat(host, options, stores).await?;
    Ok(handle)
}

/// A shard as one node sees it. It works the same with a replica on this node, leading or not, and without
/// one. Cheap to clone. A replica ends cleanly with [`Self::stop`] or [`Self::leave_seat`], and uncleanly
/// with the last handle.
#[derive(Clone)]
pub struct ShardHandle {
    place: Arc<LocalShard>,
}

impl ShardHandle {
    /// Makes the handle of a shard of which this node has no replica.
    pub fn elsewhere(shard: u32, node_id: u64, transport: Arc<dyn PeerTransport>) -> Self {
        let place = LocalShard {
            node_id,
            elsewhere: RemoteReplicas::new(shard, transport),
            running: watch::Sender::new(None),
        };
        Self {
            place: Arc::new(place),
        }
    }

    /// Starts a replica on this node. The replica that was here before must have left.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn take_seat(
        &self,
        host: Host,
        options: ShardOptions,
        stores: ShardStores,
    ) -> Result<(), StartError> {
        let transport = Arc::clone(&self.place.elsewhere.transport);
        let (replica, stopper) = replica::start(host, options, stores, transport).await?;
        let running = RunningReplica {
            replica: Arc::new(replica),
            stopper: Arc::new(stopper),
        };
        self.place.running.send_replace(Some(running));
        Ok(())
    }

    /// Ends this node's replica, if it has one. The replica's files stay on disk.
    pub async fn leave_seat(&self) {
        if let Some(running) = self.place.running.send_replace(None) {
            running.stopper.stop().await;
        }
    }

    /// Returns the id of this node's replica, if it has one.
    pub fn replica_id(&self) -> Option<ReplicaId> {
        self.running().map(|running| running.replica.options.replica_id())
    }

    /// Sets the replicas of this shard, to be asked while this node has none.
    pub fn set_holders(&self, holders: Vec<ReplicaId>) {
        self.place.elsewhere.set_holders(holders);
    }

    /// Asks one of the shard's replicas who leads. Used while this node has no replica and nobody has asked
    /// for anything yet.
    pub async fn look_for_leader(&self) {
        self.place.elsewhere.look_for_leader().await;
    }

    fn running(&self) -> Option<RunningReplica> {
        self.place.running()
    }

    /// Number of the shard.
    pub fn shard(&self) -> u32 {
        self.place.elsewhere.shard
    }

    /// Has commands decided, here or at the leader on another node. Returns one result for each, in their
    /// order. The commands of one call are decided in their order, but commands of other callers may be
    /// decided between them. Asks again with the same operation ids until the deadline. Dropping the future
    /// does not cancel the commands.
    pub async fn submit(
        &self,
        commands: Vec<Command>,
        deadline: Instant,
    ) -> Vec<Result<Outcome, SubmitError>> {
        route::submit(&self.place, commands, deadline).await
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
        route::query(&self.place, query, freshness, deadline).await
    }

    /// Returns the state of this node's replica. Without a replica, returns who has replicas and who leads,
    /// as far as known.
    pub fn status(&self) -> ReplicaStatus {
        match self.running() {
            Some(running) => running.replica.status(),
            None => self.absent(),
        }
    }

    fn absent(&self) -> ReplicaStatus {
        let elsewhere = &self.place.elsewhere;
        ReplicaStatus {
            leader: elsewhere.known_leader().map(node_of),
            voters: elsewhere.holders().iter().map(|id| id.node()).collect(),
            ..ReplicaStatus::absent(elsewhere.shard, self.place.node_id)
        }
    }

    /// Resolves when this replica has orders over several shards under way: a decision that a participant has
    /// not followed, or units that wait for a decision. Never resolves while it has none.
    pub async fn orders_under_way(&self) {
        let busy = |view: &View| view.unsettled_orders + view.prepared_reservations > 0;
        let mut watched = self.place.running.subscribe();
        loop {
            let running = watched.borrow_and_update().clone();
            let is_busy = async {
                match running {
                    Some(running) if running.replica.view.clone().wait_for(busy).await.is_ok() => {}
                    _ => std::future::pending::<()>().await,
                }
            };
            tokio::select! {
                biased;
                () = is_busy => return,
                changed = watched.changed() => if changed.is_err() {
                    std::future::pending::<()>().await;
                },
            }
        }
    }

    /// Returns whether this node's replica leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.running().is_some_and(|running| running.replica.leads())
    }

    /// Returns the leading node, as far as this node knows.
    pub fn leader(&self) -> Option<u64> {
        match self.running() {
            Some(running) => running.replica.leader.borrow().map(node_of),
            None => self.place.elsewhere.known_leader().map(node_of),
        }
    }

    /// Returns the counters of this node's replica, or those kept without one.
    pub fn metrics(&self) -> ShardMetrics {
        match self.running() {
            Some(running) => running.replica.counters.snapshot(),
            None => self.place.elsewhere.counters.snapshot(),
        }
    }

    /// Returns by how much each peer's clock is ahead of this node's, in milliseconds, as last heard. Peers
    /// send their clocks to the leader with every answer, and to candidates with their votes. The map is
    /// empty for a replica that never stood for election.
    pub fn clock_skew_ms(&self) -> BTreeMap<u64, i64> {
        let ahead_ms = self.running().map(|running| running.replica.clock.ahead_ms());
        ahead_ms
            .into_iter()
            .flatten()
            .map(|(replica, ms)| (node_of(replica), ms))
            .collect()
    }

    /// Returns a reader of the changes from this node's replica, or `None` without a replica.
    pub fn changes(&self) -> Option<ChangeReader> {
        let replica = self.running()?.replica;
        Some(ChangeReader::here(
            replica.changes.clone(),
            replica.last_seq.clone(),
        ))
    }

    /// Returns the registered consumers as this node's replica last saw them, a few seconds ago at most. Empty
    /// without a replica.
    pub fn consumers(&self) -> Vec<ConsumerStatus> {
        let running = self.running();
        running.map_or_else(Vec::new, |running| running.replica.consumers.borrow().clone())
    }

    /// Returns a reader of the changes, from this node's replica or from another node's.
    ///
    /// # Errors
    /// [`ChangeReadError::Unreachable`] when this node has no replica and no other node answers.
    pub async fn changes_from_anywhere(&self) -> Result<ChangeReader, ChangeReadError> {
        match self.changes() {
            Some(here) => Ok(here),
            None => {
                let elsewhere = &self.place.elsewhere;
                let holders = elsewhere.holders().iter().map(|id| id.node()).collect();
                ChangeReader::there(elsewhere.shard, Arc::clone(&elsewhere.transport), holders).await
            }
        }
    }

    /// Takes a Raft message that a peer sent with [`PeerTransport::raft`]. The message is handed over before
    /// this function returns; the future is the answer. Call it in the order in which the peer's messages
    /// came, and do not wait for one answer before the next call.
    pub fn handle_raft(
        &self,
        payload: Bytes,
    ) -> impl Future<Output = Result<Bytes, PeerMessageError>> + Send + use<> {
        match self.running() {
            Some(running) => Either::Left(running.replica.inbound.raft(&payload)),
            None => Either::Right(std::future::ready(Err(PeerMessageError::NotHere))),
        }
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
        match self.running() {
            Some(running) => running.replica.inbound.snapshot(&header, data).await,
            None => Err(PeerMessageError::NotHere),
        }
    }

    /// Takes a request that a peer sent with [`PeerTransport::forward`]. Errors travel inside the answer.
    pub async fn handle_forward(&self, payload: Bytes) -> Bytes {
        match self.running() {
            Some(running) => route::serve(&running.replica, &payload).await,
            None => route::not_here(),
        }
    }

    /// Returns whether another node's replica could take over leadership soon: it was heard lately and lacks
    /// little of the log. Only the leader knows this.
    pub fn is_near(&self, node: u64) -> bool {
        self.running()
            .is_some_and(|running| running.replica.is_near(node))
    }

    /// Hands leadership to `to`, or to the replica that is closest. Returns the new leader.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, TransferError> {
        match self.running() {
            Some(running) => running.replica.transfer_leader(to).await,
            None => Err(TransferError::NotLeader {
                leader: self.leader(),
            }),
        }
    }

    /// Makes the shard decide, by a rule, the entry at which its leading replica is halted, and waits until
    /// that replica goes on. Every replica of the shard must be halted at the entry, or never have reached
    /// it: a replica that has applied the entry cannot follow. `by` names the operator.
    ///
    /// # Errors
    /// See [`DecideError`].
    pub async fn decide_entry(
        &self,
        index: u64,
        rule: EntryRule,
        by: String,
        deadline: Instant,
    ) -> Result<(), DecideError> {
        match self.running() {
            Some(running) => decide::decide_entry(&running.replica, index, rule, by, deadline).await,
            None => Err(DecideError::NotLeader {
                leader: self.leader(),
            }),
        }
    }

    /// Takes the next step towards the target's replicas, if this node's replica leads.
    ///
    /// # Errors
    /// See [`MembershipError`].
    pub async fn step_towards(&self, target: &Target) -> Result<Step, MembershipError> {
        let running = self.running().ok_or(MembershipError::NotLeader)?;
        let lately = Duration::from_millis(running.replica.options.election_timeout_max_ms);
        membership::step_towards(&running.replica.raft, target, lately).await
    }

    /// Resolves with the reason when a replica of this node is dead (failed disk, panic): the node must stop.
    /// A halted replica is not dead; its status reports it. Never resolves after an ordinary [`Self::stop`].
    pub fn fatal(&self) -> impl Future<Output = String> + Send + use<> {
        let mut watched = self.place.running.subscribe();
        async move {
            loop {
                let running = watched.borrow_and_update().clone();
                // A replica that has left may still report that it is dead.
                let died = async {
                    match running {
                        Some(running) => running.replica.health.wait().await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    why = died => return why,
                    changed = watched.changed() => if changed.is_err() {
                        return std::future::pending().await;
                    },
                }
            }
        }
    }

    /// Resolves with a description when a replica of this node is halted. The node goes on: see
    /// [`ReplicaStatus::halted`].
    pub fn halted(&self) -> impl Future<Output = String> + Send + use<> {
        let mut watched = self.place.running.subscribe();
        async move {
            loop {
                let running = watched.borrow_and_update().clone();
                let halted = async {
                    let mut halts = match running {
                        Some(running) => running.replica.health.watch_halted(),
                        None => std::future::pending().await,
                    };
                    let halt = halts.wait_for(Option::is_some).await;
                    match halt.ok().and_then(|halt| halt.clone()) {
                        Some(halt) => halt.to_string(),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    halt = halted => return halt,
                    changed = watched.changed() => if changed.is_err() {
                        return std::future::pending().await;
                    },
                }
            }
        }
    }

    /// Makes a leading replica stand still: everything proposed is applied, and nothing new goes to the log
    /// until the freeze is [cut](ShardFreeze::cut) or dropped, or the lease is over. Until then, submitted
    /// commands wait.
    ///
    /// # Errors
    /// See [`CutError`].
    pub async fn freeze(&self, lease: Duration) -> Result<ShardFreeze, CutError> {
        let running = self.running().ok_or(CutError::NotLeader { leader: None })?;
        ShardFreeze::take(running.replica, lease).await
    }

    /// Stops the replica, after it hands over leadership if it leads. Idempotent.
    pub async fn stop(&self) {
        let Some(RunningReplica { replica, stopper }) = self.running() else {
            return;
        };
        if replica.leads()
            && !replica.is_stopped()
            && let Err(error) = replica.transfer_leader(None).await
        {
            tracing::info!(shard = self.shard(), %error, "leadership was not handed over");
        }
        stopper.stop().await;
    }

    /// Returns this node's replica.
    #[cfg(test)]
    pub(crate) fn replica_for_tests(&self) -> Arc<replica::Replica> {
        self.running().unwrap().replica
    }

    /// Stops the replica without handing over, as a crash would.
    #[cfg(test)]
    pub(crate) async fn crash(&self) {
        if let Some(running) = self.running() {
            running.stopper.stop().await;
        }
    }

    /// Makes the ledger apply an entry that is not in the log.
    #[cfg(test)]
    pub(crate) async fn break_ledger(&self, entry: &holdfast_ledger::Entry) {
        let replica = self.running().unwrap().replica;
        let mut state = replica.state.write().await;
        state.ledger.apply(1 << 40, entry).unwrap();
    }
}
