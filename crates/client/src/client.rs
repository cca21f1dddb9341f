//! The client, and its method for each RPC.

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

use crate::call::Kind;
use crate::channels::Channels;
use crate::error::Attempt;
use crate::routes::{Route, Routes, Scheme, shard_of};
use crate::{ClientError, ClientOptions};

/// A topology that a call found wrong is asked for again at most this often.
const DOUBT_PAUSE: Duration = Duration::from_millis(20);

/// A connection to a cluster. Cheap to clone; all clones share their connections and what they learnt.
#[derive(Clone, Debug)]
pub struct Client {
    options: Arc<ClientOptions>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    channels: Channels,
    routes: Routes,
    /// Held while the topology is asked for: one asks, the others go on with what they have.
    asking: Mutex<()>,
}

impl Client {
    /// A client for these endpoints. Connects when it is first used.
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

    /// A client for these endpoints that has reached the cluster once.
    ///
    /// # Errors
    /// [`ClientError::Options`] when an endpoint is not an address, [`ClientError::Unavailable`] when no node answered
    /// before the deadline.
    pub async fn connect(options: ClientOptions) -> Result<Self, ClientError> {
        let client = Self::new(options)?;
        client.refresh_topology().await?;
        Ok(client)
    }

    /// The same connections with another deadline for each call.
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

    /// The same connections, with the whole deadline for each attempt.
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

    /// The options it was made with.
    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// Has the files of the certificates looked at when that is due, without waiting for it: this call goes on with what
    /// there is, and finds the new ones when it is tried again.
    pub(crate) fn look_at_certificates(&self) {
        if self.channels().should_look_again() {
            let shared = Arc::clone(&self.shared);
            // Detached: it ends by itself after three reads.
            drop(tokio::task::spawn_blocking(move || shared.channels.look_again()));
        }
    }

    pub(crate) fn channels(&self) -> &Channels {
        &self.shared.channels
    }

    pub(crate) fn routes(&self) -> &Routes {
        &self.shared.routes
    }

    /// The topology as last heard, asked for when it is not known yet.
    ///
    /// # Errors
    /// When no node answered before the deadline.
    pub async fn topology(&self) -> Result<v1::GetTopologyResponse, ClientError> {
        match self.routes().topology() {
            Some(topology) => Ok(topology),
            None => self.refresh_topology().await,
        }
    }

    /// The topology, asked for now.
    ///
    /// # Errors
    /// When no node answered before the deadline.
    pub async fn refresh_topology(&self) -> Result<v1::GetTopologyResponse, ClientError> {
        self.look_at_certificates();
        self.routes().doubt();
        let deadline = Instant::now() + self.options.deadline;
        let mut backoff = crate::call::Backoff::new(self.options.backoff_min, self.options.backoff_max);
        let mut failed = None;
        let mut untrusted = crate::call::Untrusted::default();
        loop {
            let address = self
                .channels()
                .next(&self.routes().addresses(), failed.as_deref());
            match self.ask_topology(&address, deadline).await {
                Ok(topology) => return Ok(topology),
                Err(attempt) => {
                    if let Some(error) = untrusted.note(self, &address, &attempt) {
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

    /// The shard that has a SKU.
    ///
    /// # Errors
    /// When the topology is not known and no node answered before the deadline, or when it has no such slot.
    pub async fn shard_of(&self, sku: &str) -> Result<u32, ClientError> {
        shard_of(&self.topology().await?, sku).ok_or_else(|| ClientError::Unexpected {
            code: tonic::Code::Internal,
            message: "the cluster's topology has no shard for a slot".to_owned(),
        })
    }

    /// One try, by one caller at a time: a call that finds no better topology goes on without.
    pub(crate) async fn ask_topology_if_needed(&self, deadline: Instant) {
        if !self
            .routes()
            .needs_asking(self.options.topology_max_age, DOUBT_PAUSE)
        {
            return;
        }
        // The first callers wait for it, later ones have something to go on with.
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
                tracing::debug!(%error, "could not ask for the topology");
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
        /// One method for each RPC. Each tries until it has an answer, a refusal that a retry cannot change, or until the
        /// deadline. Mutations carry the same operation id on every attempt; it must be set by the caller.
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

/// The largest answer taken, in bytes.
pub(crate) const MAX_ANSWER_BYTES: usize = 64 << 20;

fn any<T>(_: &T) -> Route<'_> {
    Route::Any
}

calls! {
    /// Takes stock for a buyer, or is refused with what each line lacked.
    Mutation ReservationsClient.reserve(ReserveRequest) -> ReserveResponse by |r| Route::of_lines(&r.lines);
    /// Prolongs a hold.
    Mutation ReservationsClient.extend(ExtendRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Turns a hold into a promise: the buyer has paid.
    Mutation ReservationsClient.commit(CommitRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Gives a hold back.
    Mutation ReservationsClient.release(ReleaseRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Ships committed units.
    Mutation ReservationsClient.ship(ShipRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Cancels committed units.
    Mutation ReservationsClient.cancel(CancelRequest) -> TransitionResponse by |r| Route::of_key(r.reservation.as_ref());
    /// Takes goods back.
    Mutation ReservationsClient.r#return(ReturnRequest) -> TransitionResponse by |r| Route::of_return(r.what.as_ref());
    /// One reservation as it stands.
    Read ReservationsClient.get_reservation(GetReservationRequest) -> GetReservationResponse
        by |r| Route::of_key(r.reservation.as_ref()).unless_stale(r.consistency);
    /// Goods arrive.
    Mutation StockClient.receive(ReceiveRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// A correction.
    Mutation StockClient.adjust(AdjustRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// A recount.
    Mutation StockClient.count(CountRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Moves units between buckets.
    Mutation StockClient.move_bucket(MoveBucketRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Sets what a storefront may do with a SKU.
    Mutation StockClient.set_policy(SetPolicyRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Sets the size of a storefront's pool.
    Mutation StockClient.allocate_pool(AllocatePoolRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// Sets what a supply is still to bring.
    Mutation StockClient.expect_supply(ExpectSupplyRequest) -> StockResponse by |r| Route::Sku(&r.sku);
    /// What is expected of one SKU.
    Read StockClient.list_supplies(ListSuppliesRequest) -> ListSuppliesResponse
        by |r| Route::Sku(&r.sku).unless_stale(r.consistency);
    /// A page of one shard's cells with a deficit.
    Read StockClient.list_deficits(ListDeficitsRequest) -> ListDeficitsResponse
        by |r| Route::Shard(r.shard).unless_stale(r.consistency);
    /// Goods leave for another warehouse.
    Mutation TransfersClient.transfer_out(TransferOutRequest) -> StockResponse
        by |r| r.lines.first().map_or(Route::Any, |line| Route::Sku(&line.sku));
    /// Goods of a transfer arrive.
    Mutation TransfersClient.transfer_in(TransferInRequest) -> StockResponse
        by |r| Route::of_transfer(r.transfer.as_ref());
    /// What is in transit will never arrive.
    Mutation TransfersClient.close_transfer(CloseTransferRequest) -> StockResponse
        by |r| Route::of_transfer(r.transfer.as_ref());
    /// One transfer as it stands.
    Read TransfersClient.get_transfer(GetTransferRequest) -> GetTransferResponse
        by |r| Route::of_transfer(r.transfer.as_ref()).unless_stale(r.consistency);
    /// A page of one shard's transfers with units in transit.
    Read TransfersClient.list_transfers(ListTransfersRequest) -> ListTransfersResponse
        by |r| Route::Shard(r.shard).unless_stale(r.consistency);
    /// What a storefront could sell by which date.
    Read AvailabilityClient.promise(PromiseRequest) -> PromiseResponse
        by |r| Route::Sku(&r.sku).unless_stale(r.consistency);
    /// The cells of one SKU.
    Read StockClient.get_stock(GetStockRequest) -> GetStockResponse by |r| Route::Sku(&r.sku).unless_stale(r.consistency);
    /// What a storefront could sell now.
    Read AvailabilityClient.check_availability(CheckAvailabilityRequest) -> CheckAvailabilityResponse
        by |r| r.skus.first().map_or(Route::Any, |sku| Route::Sku(sku)).unless_stale(r.consistency);
    /// Where each shard's change stream begins and ends.
    Read ChangesClient.get_positions(GetPositionsRequest) -> GetPositionsResponse by any;
}

impl Client {
    /// The address to use for a node that the topology tells of: its `client_address` with the scheme of this client.
    pub fn address_of(&self, node: &v1::Node) -> String {
        self.routes().with_scheme(&node.client_address)
    }

    /// The address of a node's admin port, with the scheme of this client; none when the cluster does not tell it.
    pub fn admin_address_of(&self, node: &v1::Node) -> Option<String> {
        let told = !node.admin_address.is_empty();
        told.then(|| self.routes().with_scheme(&node.admin_address))
    }

    /// The state of each replica on the node at this address (see [`Client::address_of`]).
    ///
    /// # Errors
    /// [`ClientError`] when that node does not answer; no other is asked.
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
