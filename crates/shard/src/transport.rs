//! How replicas reach each other. The node implements it over gRPC, the tests in one process.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;

/// Carries bytes of this crate to the same shard on another node, where the matching `handle_…` function of
/// [`crate::ShardHandle`] takes them. It must not look into them. Payloads and answers have at most 4 MiB.
pub trait PeerTransport: Send + Sync + 'static {
    /// One Raft message and its answer. Many are in flight at once. Messages to one node must arrive in the order of
    /// the calls (the order in which this function is called, not in which its futures are polled);
    /// answers may come in any order.
    fn raft(&self, to: u64, shard: u32, payload: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// A snapshot in chunks. Ends early when `data` ends with an error; the receiver then installs nothing.
    fn snapshot(
        &self,
        to: u64,
        shard: u32,
        header: Bytes,
        data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// A client's request for the leader and its answer.
    fn forward(
        &self,
        to: u64,
        shard: u32,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// It certainly had no effect: not connected, unknown peer, refused before it was handed over.
    #[error("not sent to the peer: {0}")]
    NotSent(String),
    /// It may have had its effect: no answer in time, connection lost.
    #[error("no answer from the peer: {0}")]
    Unknown(String),
}
