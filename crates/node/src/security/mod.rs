//! Who may come in, and who is it: certificates, connections, and what both are refused for.
//!
//! ```text
//! files ──> Tls, Policy (looked at again every few seconds)
//!            └──> a handshake ──> Caller (principal, address) ──> each call and item ──> Access ──> the services
//! ```
//!
//! - [`start`] puts it together for a node.
//! - [`certificates`] reads PEM files, and what a certificate says about its holder.
//! - [`verifier`] decides whose certificate is good at which port.
//! - [`tls`] holds the configurations of new handshakes and swaps them when the files change.
//! - [`incoming`] accepts connections and does the handshakes.
//! - [`dial`] connects to other nodes.
//! - [`policy`] reads the rules of principal, verb, storefront and warehouse, and answers from them.
//! - [`access`] is the one place where a request meets them; [`touched`] says what a command is about.
//! - [`admins`] judges what only operators do.
//! - [`rate`] limits how much one principal sends.
//! - [`revocation`] reads the lists of certificates that their CA took back.
//! - [`audit`] writes down and counts what was refused, [`audit_lines`] how much of it.
//!
//! Names follow SPIFFE (<https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>): one URI in the certificate's
//! subject alternative names says who holds it. A node is `spiffe://holdfast/node/<id>`.

pub(crate) mod access;
mod admins;
pub(crate) mod audit;
mod audit_lines;
pub(crate) mod certificates;
pub(crate) mod dial;
pub(crate) mod incoming;
pub(crate) mod policy;
mod policy_file;
mod rate;
mod reload;
mod revocation;
mod start;
pub(crate) mod tls;
pub(crate) mod touched;
pub(crate) mod verb;
mod verifier;

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_ledger::Principal;

use policy_file::PolicyFile;
pub(crate) use start::Security;

use crate::intake::{Budget, Party, Session};
use crate::validation;

/// Where somebody came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// `listen.client`.
    Client,
    /// `listen.peer`.
    Peer,
    /// `listen.admin`.
    Admin,
}

impl Port {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Peer => "peer",
            Self::Admin => "admin",
        }
    }
}

/// Whoever is at the other end of a connection. Each request carries it in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// From the certificate; `anonymous` without TLS.
    pub(crate) principal: Principal,
    /// The node, if it is one, proven by its certificate.
    pub(crate) node_id: Option<u64>,
    /// When the certificate ends, in seconds since the Unix epoch; none without TLS.
    pub(crate) expires_s: Option<i64>,
    /// Which certificate it showed; none without TLS.
    pub(crate) certificate: Option<Arc<certificates::CertificateId>>,
    /// Where the connection comes from.
    pub(crate) address: SocketAddr,
    /// The connection itself.
    pub(crate) session: Arc<Session>,
}

impl Caller {
    /// Somebody of whom only the address is known.
    pub(crate) fn anonymous(address: SocketAddr, budget: &Budget) -> Self {
        Self {
            principal: validation::anonymous(),
            node_id: None,
            expires_s: None,
            certificate: None,
            address,
            session: Session::new(budget, Party::Address(address.ip())),
        }
    }

    /// Whose limits it shares.
    pub(crate) fn party(&self) -> Party {
        match &self.certificate {
            Some(_) => Party::Principal(self.principal.clone()),
            None => Party::Address(self.address.ip()),
        }
    }
}
