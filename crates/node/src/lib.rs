//! One process of a Holdfast cluster: its configuration, its gRPC services, its router, its peers, its metrics.
//!
//! A node holds replicas of some shards or all: the cluster's directory says of which (`directory/`). Any node takes any request: the services check what a client
//! sent ([`validation`], then [`mapping`] into the ledger's types), the router finds the shard, and the shard's handle
//! decides it here or forwards it to the node that leads the shard, through [`peers`]. What comes back, good or bad, is
//! turned into the public types by [`mapping`]; `reasoned.rs` gives each error the reason that a caller is told.
//!
//! ```text
//! client ── gRPC ──> services ──> validation, mapping ──> router ──> ShardHandle ──> (this node's replica)
//!                                                                        │
//!                          another node <── peers: Raft, snapshots, forwarded requests ──┘
//! ```
//!
//! - Orders whose SKUs live in several shards are moved by the crate `holdfast-orders`.
//! - [`config`] is what an operator writes: TOML, with overrides from the environment. Its doc comments are the manual.
//! - [`Node`] starts everything in order, and stops it in the reverse order: first it is no longer ready, then it
//!   leads nothing, then it finishes what it has taken, then its shards and its log are closed.
//! - [`metrics`] has the one list of what `/metrics` shows; `http.rs` serves it with `/livez` and `/readyz`.
//! - `intake/` bounds what callers send: bytes, fields, time, places.
//! - `descriptors.rs` shares the system's file descriptors between the node's files and its connections.
//! - `security/` decides who may come in: certificates, handshakes, who a caller is.
//! - `directory/` is who belongs to the cluster and where replicas are: founding, joining, moving, leaving.
//! - `damage/` is what a start does about a data folder whose bytes are not what was written.
//! - `space` looks at the disk: what is refused while it is nearly full, and the ballast.
//! - [`restore`] is a data folder that begins with the ledgers of a backup.
//! - [`doctor`] looks at a node from outside: its disk, ports, peers and clock.
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
