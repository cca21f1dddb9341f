//! The other nodes: Raft messages, snapshots and forwarded requests, to them ([`Peers`]) and from them
//! ([`PeerService`]).
//!
//! Each peer has one long-lived Raft stream that all shards share. The stream has a connection of its own, so
//! that a snapshot or a forwarded batch never delays a heartbeat. A second connection carries forwarded
//! requests and snapshots. A third one, to the peer's client port, serves reads that only the peer can
//! answer. A call to a peer that is down fails at once, and the connection is tried again in the background.

mod handover;
mod identity;
mod link;
mod presence;
mod server;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use holdfast_api::peer::peer_client::PeerClient;
use holdfast_api::peer::{ForwardRequest, IntroduceRequest, SnapshotChunk};
use holdfast_guard::dial::Dialer;
use holdfast_guard::tls::Tls;
use holdfast_shard::{DiskSpace, GoneNodes, PeerTransport, PreVoteSupport, TransportError};
use parking_lot::RwLock;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

pub use identity::Identity;
pub use server::PeerService;

use self::presence::Presence;
use crate::config::PeerSection;
use crate::space::Space;
use crate::tasks::Tasks;

pub use holdfast_shard::limits::MAX_PEER_MESSAGE_BYTES;

/// Longest time that a connection may take to come up.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval of the pings on a connection. A ping that is not answered in the same time ends the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Longest time that another node may take to answer an introduction.
const INTRODUCTION_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest time that the transfer of a snapshot may take.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(600);

/// Chunks of a snapshot that are read ahead of the connection.
const SNAPSHOT_CHUNKS: usize = 4;

/// The reason why the connections to the peers could not be prepared.
#[derive(Debug, thiserror::Error)]
#[error("the address `{address}` of node {node_id} is not usable: {source}; write host:port")]
pub struct PeerAddressError {
    /// The node with this address.
    pub node_id: u64,
    /// The address.
    pub address: String,
    /// The reason why the address is not usable.
    pub source: tonic::transport::Error,
}

/// The connections to one other node, and what they show of it.
struct Peer {
    addresses: (String, String),
    link: link::Link,
    calls: PeerClient<Channel>,
    clients: Channel,
    presence: Arc<Presence>,
}

/// The connections to all other nodes. Cheap to clone.
#[derive(Clone)]
pub struct Peers {
    identity: Identity,
    tls: Option<Arc<Tls>>,
    space: Space,
    tasks: Tasks,
    stopping: CancellationToken,
    /// The runtime on which the connections to nodes are kept up.
    runs_on: Handle,
    peers: Arc<RwLock<BTreeMap<u64, Arc<Peer>>>>,
    gone: watch::Sender<GoneNodes>,
}

fn endpoint(node_id: u64, address: &str) -> Result<Endpoint, PeerAddressError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|source| PeerAddressError {
        node_id,
        address: address.to_owned(),
        source,
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(16 << 20)
        .initial_connection_window_size(32 << 20))
}

impl Peers {
    /// Returns a value that knows no nodes yet. Connections that are made later run on the current runtime,
    /// and end when `stopping` is cancelled.
    pub(crate) fn new(
        identity: Identity,
        tls: Option<&Arc<Tls>>,
        space: &Space,
        tasks: &Tasks,
        stopping: &CancellationToken,
    ) -> Self {
        Self {
            runs_on: Handle::current(),
            identity,
            tls: tls.cloned(),
            space: space.clone(),
            tasks: tasks.clone(),
            stopping: stopping.clone(),
            peers: Arc::default(),
            gone: watch::Sender::default(),
        }
    }

    /// Returns the same, but with connections that are kept up on `runs_on` instead of the current runtime.
    pub(crate) fn running_on(self, runs_on: Handle) -> Self {
        Self { runs_on, ..self }
    }

    /// Sets the nodes of the cluster. Keeps up a Raft stream to each of the others, and closes the streams to
    /// nodes that are missing from `nodes` or have new addresses.
    ///
    /// # Errors
    /// [`PeerAddressError`] when an address is not valid; nothing is changed then.
    pub(crate) fn set_nodes(&self, nodes: &[PeerSection]) -> Result<(), PeerAddressError> {
        let mut peers = BTreeMap::new();
        for node in nodes.iter().filter(|node| node.node_id != self.identity.node_id) {
            let addresses = (node.peer_address.clone(), node.client_address.clone());
            let known = self.get(node.node_id).filter(|peer| peer.addresses == addresses);
            let peer = match known {
                Some(peer) => peer,
                None => Arc::new(self.connect(node, addresses)?),
            };
            peers.insert(node.node_id, peer);
        }
        *self.peers.write() = peers;
        Ok(())
    }

    fn connect(&self, node: &PeerSection, addresses: (String, String)) -> Result<Peer, PeerAddressError> {
        let dialer = Dialer::new(self.tls.clone(), node.node_id);
        let to_peer = endpoint(node.node_id, &node.peer_address)?;
        let to_clients = endpoint(node.node_id, &node.client_address)?;
        let clients = dialer.connect_lazy(&to_clients);
        let presence = Arc::new(Presence::new(node.node_id, self.gone.clone()));
        let _entered = self.runs_on.enter();
        let link = link::Link::start(
            self.identity.to(node.node_id),
            node.node_id,
            to_peer.clone(),
            dialer.clone(),
            Arc::clone(&presence),
            &self.tasks,
            self.stopping.clone(),
        );
        let calls = PeerClient::new(dialer.connect_lazy(&to_peer))
            .max_decoding_message_size(MAX_PEER_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_PEER_MESSAGE_BYTES);
        Ok(Peer {
            addresses,
            link,
            calls,
            clients,
            presence,
        })
    }

    fn get(&self, node_id: u64) -> Option<Arc<Peer>> {
        self.peers.read().get(&node_id).cloned()
    }

    /// Introduces this node to another one, and returns the answer.
    ///
    /// # Errors
    /// [`TransportError`] says whether the introduction may have arrived.
    pub(crate) async fn introduce(&self, to: u64, payload: Bytes) -> Result<Bytes, TransportError> {
        let Some(peer) = self.get(to) else {
            return Err(unknown_peer(to));
        };
        let mut client = peer.calls.clone();
        let request = Request::new(IntroduceRequest { payload });
        let call = client.introduce(self.identity.to(to).stamp(request));
        match tokio::time::timeout(INTRODUCTION_TIMEOUT, call).await {
            Ok(Ok(answer)) => Ok(answer.into_inner().payload),
            Ok(Err(status)) => Err(transport_error(&status)),
            Err(_) => Err(TransportError::Unknown("no answer in time".to_owned())),
        }
    }

    /// Returns whether the Raft stream to this node is up. True for this node itself.
    pub fn is_reachable(&self, node_id: u64) -> bool {
        node_id == self.identity.node_id || self.get(node_id).is_some_and(|peer| peer.presence.is_connected())
    }

    /// Returns the ids of the other nodes.
    pub fn ids(&self) -> Vec<u64> {
        self.peers.read().keys().copied().collect()
    }

    /// Returns a connection to another node's client port. It is made when it is first used.
    pub fn client_channel(&self, node_id: u64) -> Option<Channel> {
        self.get(node_id).map(|peer| peer.clients.clone())
    }
}

fn unknown_peer(to: u64) -> TransportError {
    TransportError::NotSent(format!("node {to} is not known here"))
}

fn not_sent<T: Send + 'static>(to: u64) -> BoxFuture<'static, Result<T, TransportError>> {
    futures::future::ready(Err(unknown_peer(to))).boxed()
}

/// The beginning of the error of a call that found no connection.
pub(crate) const CANNOT_CONNECT: &str = "cannot connect";

/// Returns the error of a failed call. It says whether the call may have had an effect. The call had none
/// when no connection came up, or when the peer's service refused before it handed the message over. The
/// service uses the codes of such a refusal for nothing else.
fn transport_error(status: &Status) -> TransportError {
    let mut source = status.source();
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return TransportError::NotSent(format!("{CANNOT_CONNECT}: {status}"));
        }
        source = error.source();
    }
    match status.code() {
        Code::FailedPrecondition | Code::InvalidArgument | Code::Unimplemented => {
            TransportError::NotSent(status.message().to_owned())
        }
        _ => TransportError::Unknown(status.to_string()),
    }
}

/// Sends chunks as they are read. When reading fails, the call is given up while its stream is still open, so
/// the receiver never takes the part for the whole.
async fn send_snapshot(
    mut client: PeerClient<Channel>,
    greeting: identity::Greeting,
    first: SnapshotChunk,
    mut data: BoxStream<'static, Result<Bytes, io::Error>>,
) -> Result<Bytes, TransportError> {
    let shard = first.shard;
    let (chunks, outgoing) = mpsc::channel(SNAPSHOT_CHUNKS);
    let call = client.install_snapshot(greeting.stamp(Request::new(ReceiverStream::new(outgoing))));
    let call = tokio::time::timeout(SNAPSHOT_TIMEOUT, call);
    let read = async move {
        let mut chunk = first;
        // A closed channel means that the call has ended; its answer says why.
        while chunks.send(chunk).await.is_ok() {
            chunk = match data.next().await {
                Some(Ok(data)) => SnapshotChunk {
                    shard,
                    header: Bytes::new(),
                    data,
                },
                Some(Err(error)) => return Err((error, chunks)),
                None => break,
            };
        }
        Ok(())
    };
    tokio::pin!(call, read);
    let answer = tokio::select! {
        answer = &mut call => answer,
        read = &mut read => match read {
            Ok(()) => call.await,
            Err((error, _still_open)) => {
                return Err(TransportError::NotSent(format!("the snapshot could not be read: {error}")));
            }
        },
    };
    match answer {
        Ok(Ok(installed)) => Ok(installed.into_inner().payload),
        Ok(Err(status)) => Err(transport_error(&status)),
        Err(_) => Err(TransportError::Unknown("the snapshot took too long".to_owned())),
    }
}

impl PeerTransport for Peers {
    fn gone(&self) -> watch::Receiver<GoneNodes> {
        self.gone.subscribe()
    }

    fn pre_vote_support(&self, to: u64) -> PreVoteSupport {
        match self.get(to) {
            Some(peer) => peer.presence.pre_vote_support(),
            None => PreVoteSupport::Unreachable,
        }
    }

    fn disk_space(&self, of: u64) -> DiskSpace {
        if of == self.identity.node_id {
            return match self.space.is_low() {
                true => DiskSpace::Low,
                false => DiskSpace::Enough,
            };
        }
        self.get(of)
            .map_or(DiskSpace::Unknown, |peer| peer.presence.disk_space())
    }

    fn raft(&self, to: u64, shard: u32, payload: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        match self.get(to) {
            Some(peer) => peer.link.call(shard, payload).boxed(),
            None => not_sent(to),
        }
    }

    fn snapshot(
        &self,
        to: u64,
        shard: u32,
        header: Bytes,
        data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let Some(peer) = self.get(to) else {
            return not_sent(to);
        };
        let first = SnapshotChunk {
            shard,
            header,
            data: Bytes::new(),
        };
        send_snapshot(peer.calls.clone(), self.identity.to(to), first, data).boxed()
    }

    fn forward(
        &self,
        to: u64,
        shard: u32,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let Some(peer) = self.get(to) else {
            return not_sent(to);
        };
        let mut client = peer.calls.clone();
        let mut request = self
            .identity
            .to(to)
            .stamp(Request::new(ForwardRequest { shard, payload }));
        crate::trace::pass_on(request.metadata_mut());
        async move {
            match tokio::time::timeout(timeout, client.forward(request)).await {
                Ok(Ok(answer)) => Ok(answer.into_inner().payload),
                Ok(Err(status)) => Err(transport_error(&status)),
                Err(_) => Err(TransportError::Unknown("no answer in time".to_owned())),
            }
        }
        .boxed()
    }
}
