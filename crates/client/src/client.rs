//! The client, with one method for each RPC.

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::v1;
use holdfast_api::v1::availability_client::AvailabilityClient;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_api::v1::reservations_client::ReservationsClient;
use holdfast_api::v1::stock_client::StockClient;
use holdfast_api::v1::transfers_client::TransfersClient;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tonic::Request;

use crate::attempts::{Backoff, Kind, Untrusted};
use crate::channels::Channels;
use crate::error::Attempt;
use crate::routes::{Route, Routes, Scheme, shard_of};
use crate::{ClientError, ClientOptions};

/// The shortest time between two requests for the topology after a call found it wrong.
const DOUBT_PAUSE: Duration = Duration::from_millis(20);

/// A connection to a cluster. Cheap to clone. All clones share their connections and what they have learnt.
#[derive(Clone, Debug)]
pub struct Client {
    options: Arc<ClientOptions>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channels: Channels,
    routes: Routes,
    /// The lock of the caller that asks for the topology. The other callers go on with the topology that they
    /// have.
    asking: Mutex<()>,
}

impl Client {
    /// Makes a client for these endpoints. It connects when it is first used.
    ///
    /// # Errors
    /// [`ClientError::Options`] when an endpoint is not an address.
    pub fn new(options: ClientOptions) -> Result<Self, ClientError> {
        let routes = Routes::new(Scheme::of(&options));
        Self::with_routes(options, routes)
    }

    pub(crate) fn with_routes(options: ClientOptions, routes: Routes) -> Result<Self, ClientError> {
        let channels = Channels::new(&options)?;
        Ok(Self {
            options: Arc::new(options),
            shared: Arc::new(Shared {
                channels,
                routes,
                asking: Mutex::new(()),
            }),
        })
    }

    /// Makes a client for these endpoints, and reaches the cluster once.
    ///
    /// # Errors
    /// [`ClientError::Options`] when an endpoint is not an address, [`ClientError::Unavailable`] when no node
    /// answered before the deadline.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self::new(options)?;
        client.refresh_topology().await?;
        Ok(client)
    }

    /// Returns the same connections with another deadline for each call.
    #[must_use]
    pub fn with_deadline(&self, deadline: Duration) -> Self {
        let options = ClientOptions {
            deadline,
            ..(*self.options).clone()
        };
        Self {
            options: Arc::new(options),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns the same connections, with the whole deadline for each attempt.
    pub(crate) fn with_one_attempt(&self) -> Self {
        let options = ClientOptions {
            attempt_timeout: self.options.deadline,
            ..(*self.options).clone()
        };
        Self {
            options: Arc::new(options),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Returns the options with which the client was made.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Starts a check of the certificate files when it is due, and does not wait for it. This call uses the
    /// old certificates; its next attempt finds the new ones.
    pub(crate) fn look_at_certificates(&self) {
        if self.channels().should_look_again() {
            let shared = Arc::clone(&self.shared);
            // The task is detached; it ends by itself after three reads.
            drop(tokio::task::spawn_blocking(move || shared.channels.look_again()));
        }
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.shared.channels
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.shared.routes
    }

    /// Returns the topology that was last received. Asks for it when it is not known yet.
    ///
    /// # Errors
    /// An error when no node answered before the deadline.
    pub async fn topology(&self) -> Result<v1::GetTopologyResponse, ClientError> {
        match self.routes().topology() {
            Some(topology) => Ok(topology),
            None => self.refresh_topology().await,
        }
    }

    /// Asks for the topology.
    ///
    /// # Errors
    /// An error when no node answered before the deadline.
    pub async fn refresh_topology(&self) -> Result<v1::GetTopologyResponse, ClientError> {
        self.look_at_certificates();
        self.routes().doubt();
        let deadline = Instant::now() + self.options.deadline;
        let mut backoff = Backoff::new(self.options.backoff_min, self.options.backoff_max);
        let mut failed = None;
        let mut untrusted = Untrusted::default();
        loop {
            let address = self
                .channels()
                .next(&self.routes().addresses(), failed.as_deref());
            match self.ask_topology(&address, deadline).await {
                Ok(topology) => return Ok(topology),
                Err(attempt) => {
                    if let Some(error) = untrusted.note(|| self.known_nodes(), &address, &attempt) {
                        return Err(error);
                    }
                    let message = match attempt {
                        Attempt::Untrusted { message } | Attempt::Retry { message, .. } => message,
                        Attempt::Final(error) => error.to_string(),
                    };
                    let pause = backoff.next(Duration::ZERO);
                    if Instant::now() + pause >= deadline {
                        return Err(ClientError::Unavailable { message });
                    }
                    failed = Some(address);
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Returns the shard that has a SKU.
    ///
    /// # Errors
    /// An error when the topology is not known and no node answered before the deadline, or when it has no
    /// such slot.
    pub async fn shard_of(&self, sku: &str) -> Result<u32, ClientError> {
        shard_of(&self.topology().await?, sku).ok_or_else(|| ClientError::Unexpected {
            code: tonic::Code::Internal,
            message: "the cluster's topology has no shard for a slot of the SKU".to_owned(),
        })
    }

    /// Tries once to get a better topology, if needed; one caller at a time. Without success the call goes on
    /// with the old one.
    pub(crate) async fn ask_topology_if_needed(&self, deadline: Instant) {
        if !self
            .routes()
            .needs_asking(self.options.topology_max_age, DOUBT_PAUSE)
        {
            return;
        }
        // The first callers wait for the topology. Later callers have an old one to go on with.
        let guard = if self.routes().topology().is_none() {
            Some(self.shared.asking.lock().await)
        } else {
            self.shared.asking.try_lock().ok()
        };
        if guard.is_some()
            && self
                .routes()
                .needs_asking(self.options.topology_max_age, DOUBT_PAUSE)
        {
            let address = self.channels().next(&self.routes().addresses(), None);
            if let Err(attempt) = self.ask_topology(&address, deadline).await {
                let error = attempt.into_error();
                tracing::debug!(%error, "no node gave the topology");
            }
        }
    }

    async fn ask_topology(
        &self,
        address: &str,
        deadline: Instant,
    ) -> Result<v1::GetTopologyResponse, Attempt> {
        let channel = self.channels().to(address).map_err(Attempt::Final)?;
        let wait = self
            .options
            .connect_timeout
            .min(deadline.saturating_duration_since(Instant::now()));
        let mut client = ClusterClient::new(channel);
        let asked = tokio::time::timeout(wait, client.get_topology(v1::GetTopologyRequest {}));
        match asked.await {
            Ok(Ok(response)) => {
                let topology = response.into_inner();
                self.routes().learn(topology.clone());
                Ok(topology)
            }
            Ok(Err(status)) => Err(Attempt::from_status(&status, address)),
            Err(_) => Err(Attempt::timed_out(address)),
        }
    }
}

macro_rules! kind {
    (Read $request:ident) => {
        Kind::Read
    };
    (Mutation $request:ident) => {
        Kind::Mutation(|request: &mut v1::$request| request.operation.as_mut())
    };
}

macro_rules! calls {
    ($($(#[$doc:meta])* $kind:ident $service:ident.$method:ident($request:ident) -> $response:ident by $route:expr;)*) => {
        /// One method for each RPC. Each method tries until it has an answer, a refusal that a retry cannot
        /// change, or until the deadline. A mutation carries the same operation id on every attempt; the
        /// caller must set it.
        impl Client {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// [`ClientError`] says whether the request had no effect or may have had one.
                pub async fn $method(&self, request: v1::$request) -> Result<v1::$response, ClientError> {
                    self.call(kind!($kind $request), $route, request, |channel, request: Request<v1::$request>| async move {
                        $service::new(channel).max_decoding_message_size(MAX_ANSWER_BYTES).$method(request).await
                    })
                    .await
                }
            )*
        }
    };
}

/// The largest answer that is accepted, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;

fn any<T>(_: &T) -> Route<'_> {
    Route::Any
}

calls! {
    /// Takes stock for a buyer, or returns a refusal with what each line lacked.
    Mutation ReservationsClient.reserve(ReserveRequest) -> ReserveResponse by |r| Route::of_lines(&r.lines);
    /// Prolongs a hold.
    Mutation ReservationsClient.extend(ExtendRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Makes a hold final, because the buyer has paid.
    Mutation ReservationsClient.commit(CommitRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Ends a hold and gives its stock back.
    Mutation ReservationsClient.release(ReleaseRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Ships committed units.
    Mutation ReservationsClient.ship(ShipRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Cancels committed units.
    Mutation ReservationsClient.cancel(CancelRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Takes shipped units back, or units of a sale that this ledger never saw.
    Mutation ReservationsClient.r#return(ReturnRequest) -> TransitionResponse by |r| Route::of_return(r.what.as_ref());
    /// Returns one reservation as it is.
    Read ReservationsClient.get_reservation(GetReservationRequest) -> GetReservationResponse
        by |r| Route::of_key(r.reservation.as_ref()).unless_stale(r.consistency);
    /// Records that goods arrived.
    Mutation StockClient.receive(ReceiveRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Corrects stock up or down.
    Mutation StockClient.adjust(AdjustRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Records a recount.
    Mutation StockClient.count(CountRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Moves units between buckets.
    Mutation StockClient.move_bucket(MoveBucketRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Sets what a storefront may do with a SKU.
    Mutation StockClient.set_policy(SetPolicyRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Sets the size of a storefront's pool.
    Mutation StockClient.allocate_pool(AllocatePoolRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Sets how much a supply will still bring.
    Mutation StockClient.expect_supply(ExpectSupplyRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Lists the expected supplies of one SKU.
    Read StockClient.list_supplies(ListSuppliesRequest) -> ListSuppliesResponse
        by |r| Route::Sku(&r.sku).unless_stale(r.consistency);
    /// Returns a page of one shard's cells with a deficit.
    Read StockClient.list_deficits(ListDeficitsRequest) -> ListDeficitsResponse
        by |r| Route::Shard(r.shard).unless_stale(r.consistency);
    /// Sends goods to another warehouse.
    Mutation TransfersClient.transfer_out(TransferOutRequest) -> StockResponse
        by |r| r.lines.first().map_or(Route::Any, |line| Route::Sku(&line.sku));
    /// Receives goods of a transfer.
    Mutation TransfersClient.transfer_in(TransferInRequest) -> StockResponse
        by |r| Route::of_transfer(r.transfer.as_ref());
    /// Writes off the units of a transfer that are still in transit.
    Mutation TransfersClient.close_transfer(CloseTransferRequest) -> StockResponse
        by |r| Route::of_transfer(r.transfer.as_ref());
    /// Returns one transfer as it is.
    Read TransfersClient.get_transfer(GetTransferRequest) -> GetTransferResponse
        by |r| Route::of_transfer(r.transfer.as_ref()).unless_stale(r.consistency);
    /// Returns a page of one shard's transfers with units in transit.
    Read TransfersClient.list_transfers(ListTransfersRequest) -> ListTransfersResponse
        by |r| Route::Shard(r.shard).unless_stale(r.consistency);
    /// Returns what a storefront could sell of one SKU, by which date.
    Read AvailabilityClient.promise(PromiseRequest) -> PromiseResponse
        by |r| Route::Sku(&r.sku).unless_stale(r.consistency);
    /// Returns the cells of one SKU.
    Read StockClient.get_stock(GetStockRequest) -> GetStockResponse by |r| Route::Sku(&r.sku).unless_stale(r.consistency);
    /// Returns what a storefront could sell now.
    Read AvailabilityClient.check_availability(CheckAvailabilityRequest) -> CheckAvailabilityResponse
        by |r| r.skus.first().map_or(Route::Any, |sku| Route::Sku(sku)).unless_stale(r.consistency);
    /// Returns where each shard's change stream begins and ends.
    Read ChangesClient.get_positions(GetPositionsRequest) -> GetPositionsResponse by any;
    /// Registers a consumer of the change stream in every shard, or changes it.
    Mutation ChangesClient.register_consumer(RegisterConsumerRequest) -> RegisterConsumerResponse by any;
    /// Notes how far a consumer of the change stream has come. It never goes back, so it is repeated like a read.
    /// Call it once every few seconds.
    Read ChangesClient.advance_consumer(AdvanceConsumerRequest) -> AdvanceConsumerResponse by any;
    /// Removes a consumer of the change stream from every shard.
    Mutation ChangesClient.remove_consumer(RemoveConsumerRequest) -> RemoveConsumerResponse by any;
    /// Returns the registered consumers of the change stream.
    Read ChangesClient.list_consumers(ListConsumersRequest) -> ListConsumersResponse by any;
}

impl Client {
    /// Returns the address of a node in the topology: its `client_address` with the scheme of this client.
    pub fn address_of(&self, node: &v1::Node) -> String {
        self.routes().with_scheme(&node.client_address)
    }

    /// Returns the address of a node's admin port, with the scheme of this client; None when the topology has
    /// none.
    pub fn admin_address_of(&self, node: &v1::Node) -> Option<String> {
        let told = !node.admin_address.is_empty();
        told.then(|| self.routes().with_scheme(&node.admin_address))
    }

    /// Returns the state of each replica on the node at this address (see [`Client::address_of`]).
    ///
    /// # Errors
    /// [`ClientError`] when that node does not answer; no other node is asked.
    pub async fn get_node_status(&self, address: &str) -> Result<v1::GetNodeStatusResponse, ClientError> {
        let channel = self.channels().to(address)?;
        let mut client = ClusterClient::new(channel);
        let wait = self.options.attempt_timeout.min(self.options.deadline);
        let asked = tokio::time::timeout(wait, client.get_node_status(v1::GetNodeStatusRequest {}));
        let attempt = match asked.await {
            Ok(Ok(response)) => return Ok(response.into_inner()),
            Ok(Err(status)) => Attempt::from_status(&status, address),
            Err(_) => Attempt::timed_out(address),
        };
        Err(attempt.into_error())
    }
}
