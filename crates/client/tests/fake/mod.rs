//! Nodes that do what a test tells them to do.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use holdfast_api::v1::admin_server::{Admin, AdminServer};
use holdfast_api::v1::changes_server::{Changes, ChangesServer};
use holdfast_api::v1::cluster_server::{Cluster, ClusterServer};
use holdfast_api::v1::reservations_server::{Reservations, ReservationsServer};
use holdfast_client::{Client, ClientOptions, id_bytes, new_operation_id, v1};
use parking_lot::Mutex;
use prost::Message as _;
use prost::bytes::Bytes;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Code, Request, Response, Status, Streaming};

/// The reaction of a node to a request, or to an item of a batch.
#[derive(Debug, Clone)]
pub enum Reply {
    /// Grants it.
    Grant,
    /// Refuses it for this reason.
    Refuse(v1::Reason),
    /// Refuses it for this reason, and adds that no request with its id takes effect any more.
    Settle(v1::Reason),
    /// Refuses it as overloaded, with this many milliseconds to wait.
    Wait(u64),
    /// Answers with a gRPC error that has no refusal.
    Fail(Code),
    /// Never answers.
    Hang,
    /// Batches only: ends the stream without an answer.
    Break,
}

/// The instructions of a node, and what it has seen.
#[derive(Debug, Default)]
pub struct Script {
    pub topology: v1::GetTopologyResponse,
    /// Replies to the next requests, in order; afterwards `Grant`.
    pub replies: VecDeque<Reply>,
    /// The operation ids of the requests, in order.
    pub seen: Vec<Bytes>,
    /// Whether each of them was marked as repeating an attempt without an answer.
    pub repeats: Vec<bool>,
    /// The size of each batch message.
    pub batches: Vec<usize>,
    /// Answers to the next change streams. The flag makes the stream break after them.
    pub tails: VecDeque<(Vec<v1::TailChangesResponse>, bool)>,
    /// The sequence numbers from which change streams were asked for.
    pub tailed_from: Vec<u64>,
}

impl Script {
    fn next_reply(&mut self, operation: v1::Operation) -> Reply {
        self.seen.push(operation.operation_id);
        self.repeats.push(operation.repeats);
        self.replies.pop_front().unwrap_or(Reply::Grant)
    }
}

/// A node on loopback. It is gone when dropped.
pub struct FakeNode {
    pub address: String,
    pub script: Arc<Mutex<Script>>,
    /// A runtime of its own, so that its connections end with it.
    runtime: Option<Runtime>,
}

impl FakeNode {
    pub async fn start() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .spawn(TcpListener::bind("127.0.0.1:0"))
            .await
            .unwrap()
            .unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let script = Arc::new(Mutex::new(Script::default()));
        let node = Node(Arc::clone(&script));
        let server = tonic::transport::Server::builder()
            .add_service(ReservationsServer::new(node.clone()))
            .add_service(ClusterServer::new(node.clone()))
            .add_service(AdminServer::new(node.clone()))
            .add_service(ChangesServer::new(node))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(async move { server.await.unwrap() });
        Self {
            address,
            script,
            runtime: Some(runtime),
        }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn reply(&self, replies: impl IntoIterator<Item = Reply>) {
        self.script.lock().replies.extend(replies);
    }

    pub fn seen(&self) -> Vec<Bytes> {
        self.script.lock().seen.clone()
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Returns an address where nobody listens.
pub async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Makes all nodes report that this one leads the only shard. Nodes are numbered from 1.
pub fn lead(nodes: &[&FakeNode], leader_node_id: u64) {
    let topology = v1::GetTopologyResponse {
        nodes: (1..)
            .zip(nodes)
            .map(|(node_id, node)| v1::Node {
                node_id,
                client_address: node.address.clone(),
                reachable: true,
                admin_address: String::new(),
            })
            .collect(),
        shards: vec![v1::Shard {
            shard: 0,
            leader_node_id,
            voters: vec![1, 2],
            first_slot: 0,
            last_slot: 4095,
        }],
        slots: 4096,
        ..Default::default()
    };
    for node in nodes {
        node.script.lock().topology = topology.clone();
    }
}

/// Makes a client with pauses short enough for tests.
pub fn client(endpoints: impl IntoIterator<Item = String>, deadline: Duration) -> Client {
    let options = ClientOptions {
        deadline,
        attempt_timeout: Duration::from_millis(300),
        backoff_min: Duration::from_millis(1),
        backoff_max: Duration::from_millis(5),
        ..ClientOptions::new(endpoints)
    };
    Client::new(options).unwrap()
}

/// Long enough for everything that should succeed.
pub const PATIENT: Duration = Duration::from_secs(30);

pub fn reserve() -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation: Some(v1::Operation {
            operation_id: new_operation_id(),
            ..Default::default()
        }),
        storefront: "web".to_owned(),
        lines: vec![v1::ReserveLine {
            sku: "SHIRT-1".to_owned(),
            quantity: 1,
            source: None,
        }],
        ttl_ms: 1000,
        mode: 0,
        sourcing: 0,
        ..v1::ReserveRequest::default()
    }
}

pub fn receive() -> v1::ReceiveRequest {
    v1::ReceiveRequest {
        operation: Some(v1::Operation {
            operation_id: new_operation_id(),
            ..Default::default()
        }),
        sku: "SHIRT-1".to_owned(),
        warehouse: "LDN-1".to_owned(),
        quantity: 1,
        supply_id: String::new(),
    }
}

pub fn id_of(request: &v1::ReserveRequest) -> Bytes {
    request.operation.clone().unwrap().operation_id
}

#[derive(Clone)]
struct Node(Arc<Mutex<Script>>);

fn refusal(reason: v1::Reason) -> v1::Refusal {
    v1::Refusal {
        reason: reason.into(),
        message: format!("it is {reason:?}"),
        ..Default::default()
    }
}

fn settled(reason: v1::Reason) -> v1::Refusal {
    v1::Refusal {
        settled: true,
        ..refusal(reason)
    }
}

fn wait(retry_after_ms: u64) -> v1::Refusal {
    v1::Refusal {
        retry_after_ms,
        ..refusal(v1::Reason::Overloaded)
    }
}

fn status(refusal: v1::Refusal) -> Status {
    let details = tonic_types::pb::Status {
        code: Code::Unavailable.into(),
        message: String::new(),
        details: vec![prost_types::Any {
            type_url: "type.googleapis.com/holdfast.v1.Refusal".to_owned(),
            value: refusal.encode_to_vec(),
        }],
    };
    Status::with_details(Code::Unavailable, "refused", details.encode_to_vec().into())
}

/// Returns the operation of an item, and its answer when it is granted.
fn granted(request: v1::batch_item::Request) -> Option<(v1::Operation, v1::batch_result::Result)> {
    use v1::batch_item::Request as Item;
    use v1::batch_result::Result as Kind;
    let (operation, answer) = match request {
        Item::Reserve(request) => (request.operation, Kind::Reserved(Default::default())),
        Item::Receive(request) => (request.operation, Kind::Stocked(Default::default())),
        _ => return None,
    };
    Some((operation?, answer))
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl Reservations for Node {
    async fn reserve(
        &self,
        request: Request<v1::ReserveRequest>,
    ) -> Result<Response<v1::ReserveResponse>, Status> {
        let reply = self.0.lock().next_reply(request.into_inner().operation.unwrap());
        match reply {
            Reply::Grant => Ok(Response::new(v1::ReserveResponse::default())),
            Reply::Refuse(reason) => Err(status(refusal(reason))),
            Reply::Settle(reason) => Err(status(settled(reason))),
            Reply::Wait(retry_after_ms) => Err(status(wait(retry_after_ms))),
            Reply::Fail(code) => Err(Status::new(code, "it failed")),
            Reply::Hang | Reply::Break => std::future::pending().await,
        }
    }

    type BatchStream = Answers<v1::BatchResponse>;

    async fn batch(
        &self,
        request: Request<Streaming<v1::BatchRequest>>,
    ) -> Result<Response<Self::BatchStream>, Status> {
        let script = Arc::clone(&self.0);
        let mut requests = request.into_inner();
        Ok(Response::new(Box::pin(async_stream::try_stream! {
            while let Some(request) = requests.message().await? {
                script.lock().batches.push(request.items.len());
                let mut results = Vec::new();
                for item in request.items {
                    let Some((operation, granted)) = item.request.and_then(granted) else { continue };
                    let reply = script.lock().next_reply(operation);
                    let result = match reply {
                        Reply::Grant => granted,
                        Reply::Refuse(reason) => v1::batch_result::Result::Refused(refusal(reason)),
                        Reply::Settle(reason) => v1::batch_result::Result::Refused(settled(reason)),
                        Reply::Wait(retry_after_ms) => v1::batch_result::Result::Refused(wait(retry_after_ms)),
                        Reply::Fail(code) => Err(Status::new(code, "it failed"))?,
                        Reply::Hang => continue,
                        Reply::Break => return,
                    };
                    results.push(v1::BatchResult { tag: item.tag, result: Some(result) });
                }
                yield v1::BatchResponse { results };
            }
        })))
    }

    async fn extend(
        &self,
        _: Request<v1::ExtendRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn commit(
        &self,
        _: Request<v1::CommitRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn release(
        &self,
        _: Request<v1::ReleaseRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn ship(&self, _: Request<v1::ShipRequest>) -> Result<Response<v1::TransitionResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn cancel(
        &self,
        _: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn r#return(
        &self,
        _: Request<v1::ReturnRequest>,
    ) -> Result<Response<v1::TransitionResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn get_reservation(
        &self,
        request: Request<v1::GetReservationRequest>,
    ) -> Result<Response<v1::GetReservationResponse>, Status> {
        let key = request.into_inner().reservation.unwrap_or_default();
        let reply = self.0.lock().next_reply(v1::Operation {
            operation_id: key.reservation_id,
            ..Default::default()
        });
        match reply {
            Reply::Grant => Ok(Response::new(v1::GetReservationResponse::default())),
            Reply::Refuse(reason) | Reply::Settle(reason) => Err(status(refusal(reason))),
            Reply::Wait(retry_after_ms) => Err(status(wait(retry_after_ms))),
            Reply::Fail(code) => Err(Status::new(code, "it failed")),
            Reply::Hang | Reply::Break => std::future::pending().await,
        }
    }
}

#[tonic::async_trait]
impl Cluster for Node {
    async fn get_topology(
        &self,
        _: Request<v1::GetTopologyRequest>,
    ) -> Result<Response<v1::GetTopologyResponse>, Status> {
        Ok(Response::new(self.0.lock().topology.clone()))
    }
    async fn get_node_status(
        &self,
        _: Request<v1::GetNodeStatusRequest>,
    ) -> Result<Response<v1::GetNodeStatusResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

#[tonic::async_trait]
impl Admin for Node {
    async fn get_placement(
        &self,
        _: Request<v1::GetPlacementRequest>,
    ) -> Result<Response<v1::GetPlacementResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn add_node(
        &self,
        _: Request<v1::AddNodeRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn drain_node(
        &self,
        _: Request<v1::DrainNodeRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn remove_node(
        &self,
        _: Request<v1::RemoveNodeRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn rebalance(
        &self,
        _: Request<v1::RebalanceRequest>,
    ) -> Result<Response<v1::PlacementChange>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn decide_entry(
        &self,
        _: Request<v1::DecideEntryRequest>,
    ) -> Result<Response<v1::DecideEntryResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn adopt_rules(
        &self,
        _: Request<v1::AdoptRulesRequest>,
    ) -> Result<Response<v1::AdoptRulesResponse>, Status> {
        Err(Status::unimplemented(""))
    }
    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let leader_node_id = request.get_ref().to_node_id;
        match self.0.lock().next_reply(v1::Operation::default()) {
            Reply::Refuse(reason) | Reply::Settle(reason) => Err(status(refusal(reason))),
            Reply::Fail(code) => Err(Status::new(code, "it failed")),
            _ => Ok(Response::new(v1::TransferLeaderResponse { leader_node_id })),
        }
    }
}

#[tonic::async_trait]
impl Changes for Node {
    type TailChangesStream = Answers<v1::TailChangesResponse>;

    async fn tail_changes(
        &self,
        request: Request<v1::TailChangesRequest>,
    ) -> Result<Response<Self::TailChangesStream>, Status> {
        let mut script = self.0.lock();
        script.tailed_from.push(request.get_ref().from_seq);
        let Some((answers, breaks)) = script.tails.pop_front() else {
            return Err(status(refusal(v1::Reason::NoLeader)));
        };
        let end = breaks.then(|| Err(Status::unavailable("the node went away")));
        Ok(Response::new(Box::pin(tokio_stream::iter(
            answers.into_iter().map(Ok).chain(end),
        ))))
    }
    async fn get_positions(
        &self,
        _: Request<v1::GetPositionsRequest>,
    ) -> Result<Response<v1::GetPositionsResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn register_consumer(
        &self,
        _: Request<v1::RegisterConsumerRequest>,
    ) -> Result<Response<v1::RegisterConsumerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn advance_consumer(
        &self,
        _: Request<v1::AdvanceConsumerRequest>,
    ) -> Result<Response<v1::AdvanceConsumerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn remove_consumer(
        &self,
        _: Request<v1::RemoveConsumerRequest>,
    ) -> Result<Response<v1::RemoveConsumerResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn list_consumers(
        &self,
        _: Request<v1::ListConsumersRequest>,
    ) -> Result<Response<v1::ListConsumersResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// A reservation id for reads.
pub fn some_id() -> Bytes {
    id_bytes(uuid::Uuid::now_v7())
}
