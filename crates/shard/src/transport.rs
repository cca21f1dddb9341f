//! How replicas reach each other. The node implements it over gRPC, the tests in one process.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use tokio::sync::watch;
use tokio::time::Instant;

/// Nodes whose processes are gone, and when that was noticed.
pub type GoneNodes = BTreeMap<u64, Instant>;

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

    /// The nodes whose processes are gone, and since when: there is no connection to the node, and its machine refuses a new one. A
    /// node that does not answer, or takes connections and says nothing, is not among them. Without an implementation no node ever is.
    fn gone(&self) -> watch::Receiver<GoneNodes> {
        watch::Sender::default().subscribe()
    }

    /// Whether a node can be asked for its consent before an election.
    fn pre_vote_support(&self, _to: u64) -> PreVoteSupport {
        PreVoteSupport::Yes
    }

    /// The space on the disk of a node, this one among them. Without an implementation every disk has enough.
    fn disk_space(&self, _of: u64) -> DiskSpace {
        DiskSpace::Enough
    }
}

/// The space on a node's disk, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskSpace {
    /// There is no connection to the node, so nothing is known.
    Unknown,
    /// There is enough.
    Enough,
    /// It is nearly full: nothing new should be written to it.
    Low,
}

/// Whether a node can be asked for its consent before an election.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreVoteSupport {
    /// There is no connection to it, so nothing is known.
    Unreachable,
    /// It is of a version that does not know the question.
    No,
    /// It answers.
    Yes,
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
