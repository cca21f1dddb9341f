//! One process of a Holdfast cluster: its configuration, gRPC services, router, peers and metrics.
//!
//! A node holds replicas of some or all shards; the cluster's directory (`directory/`) decides which. Any
//! node takes any request. The services check the request ([`validation`]) and turn it into the ledger's
//! types ([`mapping`]). The router finds the shard. If this node leads the shard, the shard's handle decides
//! the request here. Otherwise it forwards the request through [`peers`] to the node that leads. [`mapping`]
//! turns the result or the error into the public types, and `reasoned.rs` gives each error the reason that
//! the caller sees.
//!
//! ```text
//! client ── gRPC ──> services ──> validation, mapping ──> router ──> ShardHandle ──> (this node's replica)
//!                                                                        │
//!                          another node <── peers: Raft, snapshots, forwarded requests ──┘
//! ```
//!
//! - The crate `holdfast-orders` carries out orders whose SKUs live in several shards.
//! - [`config`] is the configuration that an operator writes: TOML, with overrides from the environment. Its
//!   doc comments are the manual.
//! - [`Node`] starts everything in order, and stops it in the reverse order. A stopping node first reports
//!   that it is not ready. Then it hands over the shards it leads, finishes the calls it has taken, and
//!   closes its shards and its log.
//! - [`metrics`] has the one list of what `/metrics` shows; `http.rs` serves it with `/livez` and `/readyz`.
//! - `intake/` limits what callers send: bytes, fields, time, and the number of long streams.
//! - `descriptors.rs` shares the system's file descriptors between the node's files and its connections.
//! - `security/` is where ports and requests meet the crate `holdfast-guard`: handshakes, the identity of a
//!   caller, and which verb a request needs and what it touches.
//! - `api/` takes a checked request through its steps. `api/admission.rs` is the one place that checks the
//!   caller's rate, certificate and access policy.
//! - `directory/` knows the members of the cluster and where replicas are: founding, joining, moving,
//!   leaving.
//! - `damage/` decides what a start does when bytes in the data folder differ from what was written.
//! - `space` watches the disk. It decides what the node refuses while the disk is nearly full, and keeps the
//!   ballast.
//! - [`restore`] makes a data folder that begins with the ledgers of a backup.
//! - [`doctor`] examines a node from outside: its disk, ports, peers and clock.
//!
//! Start reading in `node.rs`, then follow one request from `services/reservations.rs`.

mod api;
mod clock;
pub mod config;
mod damage;
mod descriptors;
mod directory;
pub mod doctor;
mod http;
mod intake;
mod leaders;
pub mod limits;
mod listeners;
pub mod mapping;
pub mod metrics;
mod node;
mod own_thread;
pub mod peers;
mod reasoned;
pub mod restore;
mod router;
mod runtime;
mod security;
mod servers;
mod services;
mod space;
mod start_error;
mod stores;
mod tasks;
mod trace;
mod undecodable;
pub mod validation;

pub use config::{ConfigError, NodeConfig};
pub use directory::MembershipStartError;
pub use holdfast_guard::certificates::CertificateFileError;
pub use holdfast_guard::policy::PolicyError;
pub use holdfast_shard::TRACE_TARGET;
pub use metrics::MetricsReader;
pub use node::Node;
pub use runtime::run_with_threads;
pub use start_error::{StartError, StopError};
pub use stores::StoresError;
