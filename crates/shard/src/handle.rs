//! What the node holds of a shard.

use std::future::Future;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use holdfast_ledger::{Command, Outcome, Query};
use tokio::time::Instant;

use crate::{
    Answer, ChangeReader, Freshness, PeerMessageError, PeerTransport, QueryError, ReplicaStatus, ShardMetrics,
    ShardOptions, ShardStores, StartError, SubmitError, TransferError,
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
    let _ = (stores, transport);
    Err(StartError::Raft { shard: options.shard, what: "not built".into() })
}

/// One replica of a shard on this node, whether it leads or not. Cheap to clone.
#[derive(Clone)]
pub struct ShardHandle {}

impl ShardHandle {
    /// Which shard.
    pub fn shard(&self) -> u32 {
        0
    }

    /// Has commands decided, here or at the leader on another node. One result for each, in their order; each is decided
    /// on its own, and they may land in different entries. Retries with the same operation ids until the deadline.
    /// Dropping the future takes nothing back.
    pub async fn submit(&self, commands: Vec<Command>, deadline: Instant) -> Vec<Result<Outcome, SubmitError>> {
        let _ = deadline;
        commands.iter().map(|_| Err(SubmitError::Stopped)).collect()
    }

    /// Answers a query, here or at the leader on another node.
    ///
    /// # Errors
    /// See [`QueryError`].
    pub async fn query(&self, query: Query, freshness: Freshness, deadline: Instant) -> Result<Answer, QueryError> {
        let _ = (query, freshness, deadline);
        Err(QueryError::Stopped)
    }

    /// How this replica stands.
    pub fn status(&self) -> ReplicaStatus {
        unreachable!("no handle exists yet")
    }

    /// Who leads, as far as this replica knows.
    pub fn leader(&self) -> Option<u64> {
        None
    }

    /// What this replica counted.
    pub fn metrics(&self) -> ShardMetrics {
        ShardMetrics::default()
    }

    /// The changes, from this replica.
    pub fn changes(&self) -> ChangeReader {
        unreachable!("no handle exists yet")
    }

    /// Takes a Raft message that a peer sent with [`PeerTransport::raft`]. Messages of one peer must be handed over in
    /// the order in which they came, without waiting for the answer to the one before.
    ///
    /// # Errors
    /// See [`PeerMessageError`].
    pub async fn handle_raft(&self, payload: Bytes) -> Result<Bytes, PeerMessageError> {
        let _ = payload;
        Err(PeerMessageError::Stopped)
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
        let _ = (header, data);
        Err(PeerMessageError::Stopped)
    }

    /// Takes a request that a peer sent with [`PeerTransport::forward`]. Errors travel inside the answer.
    pub async fn handle_forward(&self, payload: Bytes) -> Bytes {
        let _ = payload;
        Bytes::new()
    }

    /// Hands leadership to `to`, or to the replica that is closest. Returns the new leader.
    ///
    /// # Errors
    /// See [`TransferError`].
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, TransferError> {
        let _ = to;
        Err(TransferError::Stopped)
    }

    /// Resolves with the reason when this replica is dead (violated invariant, failed disk): the node must stop.
    /// Never resolves after an ordinary [`Self::stop`].
    pub fn fatal(&self) -> impl Future<Output = String> + Send + 'static {
        std::future::pending()
    }

    /// Hands over leadership if it leads, then stops. Idempotent.
    pub async fn stop(&self) {}
}
