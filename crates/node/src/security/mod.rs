//! Who may come in to this node, and who is it: connections, requests, and what both are refused for. Certificates,
//! policy and audit are the crate `holdfast-guard`; here they meet the node's ports, requests and limits.
//!
//! - [`start`] puts it together for a node.
//! - [`incoming`] accepts connections and does the handshakes.
//! - [`access`] is the one place where a request meets the policy; [`touched`] says what a command is about.
//! - [`admins`] judges what only operators do.

pub(crate) mod access;
mod admins;
pub(crate) mod incoming;
mod start;
pub(crate) mod touched;

use std::net::SocketAddr;
use std::sync::Arc;

use holdfast_api::names::Principal;
use holdfast_guard::audit::Asker;
use holdfast_guard::certificates::CertificateId;

pub(crate) use start::Security;

use crate::intake::{Budget, Party, Session};
use crate::validation;

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
    pub(crate) certificate: Option<Arc<CertificateId>>,
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

    /// Returns its name in audit lines.
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            principal: &self.principal,
            address: self.address,
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
