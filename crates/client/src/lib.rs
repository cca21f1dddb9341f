//! The Rust client of a Holdfast cluster: typed, async, and careful with retries.
//!
//! ```no_run
//! use holdfast_client::{Client, ClientOptions, new_operation_id};
//! use holdfast_api::v1;
//!
//! # async fn example() -> Result<(), holdfast_client::ClientError> {
//! let client = Client::new(ClientOptions::new(["http://127.0.0.1:7411", "http://127.0.0.1:7421"]))?;
//! let granted = client
//!     .reserve(v1::ReserveRequest {
//!         operation: Some(v1::Operation { operation_id: new_operation_id(), ..Default::default() }),
//!         storefront: "web".to_owned(),
//!         lines: vec![v1::ReserveLine { sku: "SHIRT-1".to_owned(), quantity: 2, source: None }],
//!         ttl_ms: 15 * 60 * 1000,
//!         mode: v1::ReserveMode::AllOrNothing.into(),
//!         ..Default::default()
//!     })
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`Client`] has one method for each RPC. A call is tried until there is an answer, a refusal that another
//!   attempt cannot change, or until its deadline. Every attempt carries the same request and so the same
//!   operation id, and the server applies an id once. That is why the **caller** makes the id
//!   ([`new_operation_id`], [`feed_operation_id`]) and keeps it: when a call ends in
//!   [`ClientError::Unknown`], a second call with the same id learns what happened.
//! - Any node takes any request, but the leader of the SKU's shard answers fastest. The client asks for the
//!   topology when it first needs it, and then calls the leader directly. After a failed attempt it asks for
//!   the topology again. While it knows no leader, it uses the endpoints in turn.
//! - [`AdminClient`] is for operators. It connects to the admin ports, which have no topology to learn from.
//! - [`Client::batch`] returns a [`BatchStream`]: many mutations in few messages, for high rates. It takes
//!   the mutations of reservations, and arrivals, with which a catalogue is stocked.
//! - [`Client::tail_changes`] is the change stream of a shard. After a failure it goes on at another node.
//! - [`ClientTls`] in the options makes every connection mutual TLS. The endpoints are then `https://`.
//! - [`ClientError`] says for each failure whether the request had no effect or may have had one.
//!
//! ```text
//! Client ─ call ──> routes (who leads the SKU's shard?) ──> channels (one connection a node) ──> node
//!            └─ on failure: doubt the routes, pause, try the next node, same operation id
//! ```
//!
//! A refusal is final if no earlier attempt is unanswered. After an attempt without an answer, the client
//! sets `repeats` on the next one. A node that refuses such a request first seals its operation id, so that
//! no late copy takes effect. It then marks the refusal as `settled`. A refusal that is not settled then
//! counts as an unknown outcome.
//!
//! `examples/` has a reservation with retries, a batch and a change consumer. Start reading in `call.rs`,
//! then `client.rs`. `batch/lane.rs` does the same for streams.

mod admin;
mod attempts;
mod backup;
mod batch;
mod call;
mod channels;
mod client;
mod connect;
mod error;
mod history;
mod ids;
mod options;
mod routes;
mod tail;
mod tls;

pub use admin::AdminClient;
pub use backup::BackupSession;
pub use batch::{BatchAnswer, BatchOptions, BatchStream, MAX_BATCH_ITEMS};
pub use client::Client;
pub use error::{ClientError, is_retryable, refusal_of};
pub use holdfast_api::slots::slot_of;
pub use holdfast_api::v1;
pub use ids::{feed_operation_id, id_bytes, new_operation_id};
pub use options::ClientOptions;
pub use routes::shard_of;
pub use tls::{ClientTls, ClientTlsError};
pub use tonic::Code;
