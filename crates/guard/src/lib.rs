//! The guard at the door of a server: certificates, handshakes, who a caller is, and what its policy allows.
//!
//! Any server of Holdfast can use it. It knows nothing of shards, stock or reservations: a server says what a
//! request is about ([`Touched`](policy::Touched)) and asks [`policy`].
//!
//! ```text
//! files ──> Tls, PolicyFile          looked at again every few seconds (watch)
//!            │
//!            └─> handshake ──> verifier ──> holder's principal ──> policy: verb, storefront, warehouse
//!                    │                                                  │
//!                    └────────────── refused ──> audit, metrics <───────┘
//! ```
//!
//! - [`tls`] holds the configurations of new handshakes and swaps them when the files change; [`TlsSection`] names
//!   the files.
//! - [`certificates`] reads PEM files and finds the holder of a certificate; `revocation.rs` reads the lists of
//!   certificates that their CA took back.
//! - `verifier.rs` decides whose certificate is good at which [`Port`].
//! - [`dial`] connects to another node, which has to prove that it is that node.
//! - [`policy`] has the rules of principal, [`verb`], storefront and warehouse; [`policy_file`] keeps them up to
//!   date.
//! - [`rate`] limits how many requests a principal sends.
//! - [`audit`] writes down and counts refusals; `audit_lines.rs` bounds how many lines that makes.
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
