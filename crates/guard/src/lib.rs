//! The guard at the door of a server: certificates, handshakes, the identity of a caller, and the access
//! policy that says what the caller may do.
//!
//! Any server of Holdfast can use it. It knows nothing of shards, stock or reservations. A server says which
//! storefronts and warehouses a request touches ([`Touched`](policy::Touched)) and asks [`policy`].
//!
//! ```text
//! files ──> Tls, PolicyFile          read again every few seconds (watch)
//!            │
//!            └─> handshake ──> verifier ──> holder's principal ──> policy: verb, storefront, warehouse
//!                    │                                                  │
//!                    └────────────── refused ──> audit, metrics <───────┘
//! ```
//!
//! - [`tls`] holds the configurations of new handshakes and swaps them when the files change; [`TlsSection`]
//!   names the files.
//! - [`certificates`] reads PEM files and finds the holder of a certificate; `revocation.rs` reads the lists
//!   of revoked certificates.
//! - `verifier.rs` decides which certificates are accepted at which [`Port`].
//! - [`dial`] connects to another node, which has to prove that it is that node.
//! - [`policy`] has the rules of principal, [`verb`], storefront and warehouse; [`policy_file`] keeps them up
//!   to date.
//! - [`rate`] limits how many requests a principal sends.
//! - [`audit`] logs and counts refusals; `audit_lines.rs` limits the number of log lines.
//! - [`metrics`] has the counters.
//!
//! Names follow SPIFFE (<https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>): one URI in the
//! certificate's subject alternative names says who holds it. A node is `spiffe://holdfast/node/<id>`.
//!
//! Start reading in `verifier.rs`, then `policy.rs`. `docs/security.md` is the page for operators.

pub mod audit;
mod audit_lines;
pub mod certificates;
pub mod claim;
pub mod dial;
pub mod metrics;
pub mod policy;
pub mod policy_file;
mod port;
pub mod rate;
mod reloaded;
mod revocation;
pub mod tls;
mod tls_section;
pub mod verb;
mod verifier;
pub mod watch;

pub use port::Port;
pub use reloaded::Reloaded;
pub use tls_section::TlsSection;
