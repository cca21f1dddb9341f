//! Transport by which replicas reach each other. The node implements it over gRPC, the tests in one process.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Nodes whose processes are gone, and the times when that was noticed.
pub type GoneNodes = BTreeMap<u64, Instant>;

/// Carrier of this crate's bytes to the same shard on another node. There the matching `handle_…` function of
/// [`crate::ShardHandle`] takes them. The carrier must not look into them. Payloads and answers have at most
/// [`MAX_PEER_MESSAGE_BYTES`](crate::limits::MAX_PEER_MESSAGE_BYTES).
pub trait PeerTransport: Send + Sync + 'static {
    /// Sends one Raft message and returns its answer. Many messages are in flight at once. Messages to one
    /// node must arrive in the order of the calls (the order in which this function is called, not in which
    /// its futures are polled). Answers may come in any order.
    fn raft(&self, to: u64, shard: u32, payload: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Sends a snapshot in chunks. Ends early when `data` ends with an error; the receiver then installs
    /// nothing.
    fn snapshot(
        &self,
        to: u64,
        shard: u32,
        header: Bytes,
        data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Sends a client's request to the leader and returns its answer.
    fn forward(
        &self,
        to: u64,
        shard: u32,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>;

    /// Watches the nodes whose processes are gone, and since when: there is no connection to the node, and
    /// its machine refuses a new one. A node that does not answer, or that accepts connections and stays
    /// silent, is not among them. Without an implementation, no node ever is.
    fn gone(&self) -> watch::Receiver<GoneNodes> {
        watch::Sender::default().subscribe()
    }

    /// Returns whether a node can be asked for its consent before an election.
    fn pre_vote_support(&self, _to: u64) -> PreVoteSupport {
        PreVoteSupport::Yes
    }

    /// Returns the space on the disk of a node, which may be this one. Without an implementation every disk
    /// has enough.
    fn disk_space(&self, _of: u64) -> DiskSpace {
        DiskSpace::Enough
    }
}

/// Space on a node's disk, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSpace {
    /// There is no connection to the node, so nothing is known.
    Unknown,
    /// The disk has enough space.
    Enough,
    /// The disk is nearly full: nothing new should be written to it.
    Low,
}

/// Whether a node can be asked for its consent before an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreVoteSupport {
    /// There is no connection to the node, so nothing is known.
    Unreachable,
    /// The node's version does not know the question.
    No,
    /// The node answers the question.
    Yes,
}

/// Reason why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The message certainly had no effect: not connected, unknown peer, or refused before it was handed
    /// over.
    #[error("the message was not sent to the peer: {0}")]
    NotSent(String),
    /// The message may have had its effect: no answer in time, or the connection was lost.
    #[error("the peer did not answer: {0}")]
    Unknown(String),
}
