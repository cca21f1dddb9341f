use std::sync::atomic::{AtomicUsize, Ordering};

use holdfast_api::peer::peer_server::{Peer as PeerApi, PeerServer};
use holdfast_api::peer::{
    DecideEntryRequest, DecideEntryResponse, ForwardResponse, HandOverRequest, HandOverResponse,
    IntroduceResponse, RaftMessage, ReportRequest, ReportResponse, SnapshotInstalled,
};
use holdfast_api::v1::Reason;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, Streaming};
use uuid::Uuid;

use super::*;
use crate::config::StorageSection;

const TO: u64 = 2;

/// A peer that answers Raft messages in pairs, the later one first, and hangs on the payload `hang`.
#[derive(Clone)]
struct Fake {
    identity: Identity,
    /// Whether its answers say which messages this version knows.
    speaks: bool,
    snapshot_bytes: Arc<AtomicUsize>,
}

#[tonic::async_trait]
impl PeerApi for Fake {
    type RaftStream = ReceiverStream<Result<RaftMessage, Status>>;

    async fn raft(
        &self,
        request: Request<Streaming<RaftMessage>>,
    ) -> Result<Response<Self::RaftStream>, Status> {
        self.identity.check(request.metadata())?;
        let mut messages = request.into_inner();
        let (answers, outgoing) = mpsc::channel(16);
        tokio::spawn(async move {
            let mut first: Option<RaftMessage> = None;
            while let Ok(Some(mut message)) = messages.message().await {
                let payload = message.payload.clone();
                match payload.as_ref() {
                    b"hang" => {}
                    b"break" => return,
                    payload => {
                        message.low_space = payload == b"low";
                        match first.take() {
                            None => first = Some(message),
                            Some(earlier) => {
                                answers.send(Ok(message)).await.unwrap();
                                answers.send(Ok(earlier)).await.unwrap();
                            }
                        }
                    }
                }
            }
        });
        let mut response = Response::new(ReceiverStream::new(outgoing));
        if self.speaks {
            presence::say_what_we_speak(response.metadata_mut());
        }
        Ok(response)
    }

    async fn install_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<SnapshotInstalled>, Status> {
        let mut chunks = request.into_inner();
        let header = chunks
            .message()
            .await?
            .map(|chunk| chunk.header)
            .unwrap_or_default();
        while let Some(chunk) = chunks.message().await? {
            self.snapshot_bytes.fetch_add(chunk.data.len(), Ordering::Relaxed);
        }
        Ok(Response::new(SnapshotInstalled { payload: header }))
    }

    async fn introduce(
        &self,
        request: Request<IntroduceRequest>,
    ) -> Result<Response<IntroduceResponse>, Status> {
        let payload = request.into_inner().payload;
        Ok(Response::new(IntroduceResponse { payload }))
    }

    async fn forward(&self, request: Request<ForwardRequest>) -> Result<Response<ForwardResponse>, Status> {
        let payload = request.into_inner().payload;
        match payload.as_ref() {
            b"refuse" => Err(Status::failed_precondition("not handed over")),
            b"fail" => Err(Status::internal("who knows")),
            b"hang" => futures::future::pending().await,
            _ => Ok(Response::new(ForwardResponse { payload })),
        }
    }

    async fn hand_over(&self, _: Request<HandOverRequest>) -> Result<Response<HandOverResponse>, Status> {
        Err(Status::unimplemented("an older node"))
    }

    async fn report(&self, _: Request<ReportRequest>) -> Result<Response<ReportResponse>, Status> {
        Err(Status::unimplemented("an older node"))
    }

    async fn decide_entry(
        &self,
        _: Request<DecideEntryRequest>,
    ) -> Result<Response<DecideEntryResponse>, Status> {
        Err(Status::unimplemented("an older node"))
    }
}

struct Pair {
    peers: Peers,
    fake: Fake,
    stopping: CancellationToken,
    _tasks: Tasks,
}

fn identity(node_id: u64) -> Identity {
    Identity {
        cluster_id: Uuid::from_u128(1),
        node_id,
    }
}

/// Returns node 1, connected to a fake node 2 that has the identity `fake`.
async fn pair(fake: Identity) -> Pair {
    pair_with(fake, true).await
}

async fn pair_with(fake: Identity, speaks: bool) -> Pair {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let fake = Fake {
        identity: fake,
        speaks,
        snapshot_bytes: Arc::default(),
    };
    let stopping = CancellationToken::new();
    let server = tonic::transport::Server::builder()
        .add_service(PeerServer::new(fake.clone()))
        .serve_with_incoming_shutdown(TcpIncoming::from(listener), stopping.clone().cancelled_owned());
    tokio::spawn(server);
    let (tasks, _) = Tasks::new();
    let peers = peers_with(&address, &tasks, &stopping);
    Pair {
        peers,
        fake,
        stopping,
        _tasks: tasks,
    }
}

fn space() -> Space {
    Space::new(std::path::Path::new("missing"), &StorageSection::default())
}

/// Returns the connections of node 1, which looks for node 2 at this address.
fn peers_with(address: &str, tasks: &Tasks, stopping: &CancellationToken) -> Peers {
    let nodes = [PeerSection {
        node_id: TO,
        client_address: address.to_owned(),
        peer_address: address.to_owned(),
        admin_address: None,
    }];
    let peers = Peers::new(identity(1), None, &space(), tasks, stopping);
    peers.set_nodes(&nodes).unwrap();
    peers
}

async fn is_gone(peers: &Peers) {
    let mut gone = PeerTransport::gone(peers);
    let noticed = gone.wait_for(|gone| gone.contains_key(&TO));
    tokio::time::timeout(Duration::from_secs(30), noticed)
        .await
        .expect("noticed in time")
        .unwrap();
}

async fn connected(peers: &Peers) {
    tokio::time::timeout(Duration::from_secs(30), async {
        while !peers.is_reachable(TO) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("connected in time");
}

#[tokio::test]
async fn answers_find_their_requests_in_any_order() {
    let pair = pair(identity(TO)).await;
    connected(&pair.peers).await;
    let call = |text: &'static str| pair.peers.raft(TO, 0, Bytes::from_static(text.as_bytes()));
    let (hanging, one, two) = (call("hang"), call("one"), call("two"));
    assert_eq!(one.await, Ok(Bytes::from_static(b"one")));
    assert_eq!(two.await, Ok(Bytes::from_static(b"two")));
    drop(hanging);
    pair.stopping.cancel();
}

#[tokio::test]
async fn what_was_under_way_when_the_stream_breaks_is_unknown_and_the_link_comes_back() {
    let pair = pair(identity(TO)).await;
    connected(&pair.peers).await;
    let hanging = pair.peers.raft(TO, 0, Bytes::from_static(b"hang"));
    let breaking = pair.peers.raft(TO, 0, Bytes::from_static(b"break"));
    assert!(matches!(hanging.await, Err(TransportError::Unknown(_))));
    assert!(matches!(breaking.await, Err(TransportError::Unknown(_))));
    connected(&pair.peers).await;
    let (one, two) = (
        pair.peers.raft(TO, 0, Bytes::from_static(b"one")),
        pair.peers.raft(TO, 0, Bytes::from_static(b"two")),
    );
    assert_eq!(tokio::join!(one, two).0, Ok(Bytes::from_static(b"one")));
    pair.stopping.cancel();
}

#[tokio::test]
async fn a_peer_that_is_down_unknown_or_somebody_else_is_told_at_once_and_nothing_was_sent() {
    let somebody_else = pair(identity(3)).await;
    let other_cluster = pair(Identity {
        cluster_id: Uuid::from_u128(9),
        node_id: TO,
    })
    .await;
    for pair in [somebody_else, other_cluster] {
        let answer = pair.peers.raft(TO, 0, Bytes::from_static(b"one")).await;
        assert!(matches!(answer, Err(TransportError::NotSent(_))), "{answer:?}");
        assert!(!pair.peers.is_reachable(TO));
        let answer = pair.peers.raft(77, 0, Bytes::new()).await;
        assert!(matches!(answer, Err(TransportError::NotSent(_))), "{answer:?}");
        pair.stopping.cancel();
    }
    let (tasks, _) = Tasks::new();
    let nodes = [PeerSection {
        node_id: TO,
        client_address: "127.0.0.1:1".to_owned(),
        peer_address: "127.0.0.1:1".to_owned(),
        admin_address: None,
    }];
    let stopping = CancellationToken::new();
    let down = Peers::new(identity(1), None, &space(), &tasks, &stopping);
    down.set_nodes(&nodes).unwrap();
    let forwarded = down
        .forward(TO, 0, Bytes::from_static(b"x"), Duration::from_secs(30))
        .await;
    assert!(
        matches!(forwarded, Err(TransportError::NotSent(_))),
        "{forwarded:?}"
    );
    let message = down.raft(TO, 0, Bytes::from_static(b"x")).await;
    assert!(matches!(message, Err(TransportError::NotSent(_))), "{message:?}");
    stopping.cancel();
}

#[tokio::test]
async fn a_forward_tells_what_certainly_had_no_effect_from_what_may_have() {
    let pair = pair(identity(TO)).await;
    let forward = |text: &'static str, timeout_ms| {
        let payload = Bytes::from_static(text.as_bytes());
        pair.peers
            .forward(TO, 0, payload, Duration::from_millis(timeout_ms))
    };
    assert_eq!(forward("ok", 30_000).await, Ok(Bytes::from_static(b"ok")));
    assert!(matches!(
        forward("refuse", 30_000).await,
        Err(TransportError::NotSent(_))
    ));
    assert!(matches!(
        forward("fail", 30_000).await,
        Err(TransportError::Unknown(_))
    ));
    assert!(matches!(
        forward("hang", 50).await,
        Err(TransportError::Unknown(_))
    ));
    pair.stopping.cancel();
}

#[tokio::test]
async fn a_leader_that_does_not_know_handovers_or_is_not_there_is_told_as_such() {
    let pair = pair(identity(TO)).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let older = pair.peers.hand_over(TO, 0, 0, deadline).await.unwrap_err();
    assert_eq!(older.reason(), Reason::NoLeader);
    assert!(older.message.contains("an older node"), "{older:?}");
    let unknown = pair.peers.hand_over(77, 0, 0, deadline).await.unwrap_err();
    assert!(unknown.message.contains("77"), "{unknown:?}");
    pair.stopping.cancel();
}

#[tokio::test]
async fn a_snapshot_arrives_whole_or_is_given_up() {
    let pair = pair(identity(TO)).await;
    let chunk = Bytes::from(vec![7; 100_000]);
    let whole = futures::stream::repeat(chunk.clone()).take(20).map(Ok).boxed();
    let installed = pair
        .peers
        .snapshot(TO, 0, Bytes::from_static(b"header"), whole)
        .await;
    assert_eq!(installed, Ok(Bytes::from_static(b"header")));
    assert_eq!(pair.fake.snapshot_bytes.load(Ordering::Relaxed), 2_000_000);

    let broken = vec![Ok(chunk), Err(io::Error::other("a flipped bit"))];
    let broken = futures::stream::iter(broken).boxed();
    let given_up = pair
        .peers
        .snapshot(TO, 0, Bytes::from_static(b"header"), broken)
        .await;
    assert!(
        matches!(&given_up, Err(TransportError::NotSent(why)) if why.contains("flipped")),
        "{given_up:?}"
    );
    pair.stopping.cancel();
}

#[tokio::test]
async fn a_node_whose_port_refuses_connections_is_gone_until_it_takes_one_again() {
    let pair = pair(identity(TO)).await;
    connected(&pair.peers).await;
    let gone = PeerTransport::gone(&pair.peers);
    assert!(gone.borrow().is_empty());
    let address = pair.peers.get(TO).unwrap().addresses.0.clone();
    // The server ends once its streams have ended, and takes no new connection.
    pair.stopping.cancel();
    drop(pair.peers.raft(TO, 0, Bytes::from_static(b"break")));
    let (tasks, _) = Tasks::new();
    let stopping = CancellationToken::new();
    let others = peers_with(&address, &tasks, &stopping);
    is_gone(&others).await;
    assert_eq!(others.pre_vote_support(TO), PreVoteSupport::Unreachable);
    let listener = tokio::net::TcpListener::bind(&address).await.unwrap();
    let mut gone = PeerTransport::gone(&others);
    let (_taken, _) = listener.accept().await.unwrap();
    // The node says nothing, but it is there.
    let back = gone.wait_for(|gone| gone.is_empty());
    tokio::time::timeout(Duration::from_secs(30), back)
        .await
        .expect("noticed in time")
        .unwrap();
    stopping.cancel();
}

#[tokio::test]
async fn a_node_that_accepts_no_connections_for_want_of_descriptors_is_not_gone() {
    // The listener is there, its queue is full, and nobody takes connections from it.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(
        Duration::from_millis(100),
        tokio::net::TcpStream::connect(&address),
    )
    .await
    {
        queued.push(stream);
    }
    let endpoint = endpoint(TO, &address).unwrap();
    assert!(!holdfast_guard::dial::refuses(&endpoint).await);
    let (tasks, _) = Tasks::new();
    let stopping = CancellationToken::new();
    let peers = peers_with(&address, &tasks, &stopping);
    // The first attempt has failed by now, and the next is under way.
    let message = peers.raft(TO, 0, Bytes::from_static(b"x")).await;
    assert!(matches!(message, Err(TransportError::NotSent(_))), "{message:?}");
    assert!(PeerTransport::gone(&peers).borrow().is_empty());
    drop(listener);
    drop(queued);
    is_gone(&peers).await;
    stopping.cancel();
}

#[tokio::test]
async fn a_node_says_whether_it_can_be_asked_before_an_election() {
    for (speaks, support) in [(true, PreVoteSupport::Yes), (false, PreVoteSupport::No)] {
        let pair = pair_with(identity(TO), speaks).await;
        assert_eq!(pair.peers.pre_vote_support(77), PreVoteSupport::Unreachable);
        connected(&pair.peers).await;
        assert_eq!(pair.peers.pre_vote_support(TO), support);
        pair.stopping.cancel();
    }
}

#[tokio::test]
async fn what_a_node_says_of_its_disk_is_known_while_it_is_connected() {
    let pair = pair(identity(TO)).await;
    assert_eq!(pair.peers.disk_space(1), DiskSpace::Enough);
    assert_eq!(pair.peers.disk_space(77), DiskSpace::Unknown);
    connected(&pair.peers).await;
    for (payload, space) in [
        (&b"x"[..], DiskSpace::Enough),
        (b"low", DiskSpace::Low),
        (b"x", DiskSpace::Enough),
    ] {
        let send = || pair.peers.raft(TO, 0, Bytes::copy_from_slice(payload));
        let (first, second) = futures::future::join(send(), send()).await;
        assert!(first.is_ok() && second.is_ok());
        assert_eq!(pair.peers.disk_space(TO), space);
    }
    pair.stopping.cancel();
}
