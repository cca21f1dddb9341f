//! The security of this node: who a caller is, and for which reasons its connections and requests are
//! refused. The crate `holdfast-guard` has certificates, access policy and audit. This module connects them
//! to the node's ports, requests and limits.
//!
//! - [`start`] builds the parts for a node.
//! - [`incoming`] accepts connections and does the handshakes.
//! - [`access`] has the state for checking a request against the access policy; [`touched`] says what a
//!   command is about.
//! - [`admins`] says which principals may administer.

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

/// The caller at the other end of a connection. Each request carries it in its extensions.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// The principal of the certificate; `anonymous` without TLS.
    pub(crate) principal: Principal,
    /// The id of the node, if the certificate proves that the caller is one.
    pub(crate) node_id: Option<u64>,
    /// The moment when the certificate expires, in seconds since the Unix epoch; None without TLS.
    pub(crate) expires_s: Option<i64>,
    /// The certificate's name in a revocation list; None without TLS.
    pub(crate) certificate: Option<Arc<CertificateId>>,
    /// The address that the connection comes from.
    pub(crate) address: SocketAddr,
    /// The connection's share of the budget, and its activity.
    pub(crate) session: Arc<Session>,
}

impl Caller {
    /// Returns a caller of whom only the address is known.
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

    /// Returns the caller as audit lines name it.
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            principal: &self.principal,
            address: self.address,
        }
    }

    /// Returns the party whose limits the caller shares.
    pub(crate) fn party(&self) -> Party {
        match &self.certificate {
            Some(_) => Party::Principal(self.principal.clone()),
            None => Party::Address(self.address.ip()),
        }
    }
}
