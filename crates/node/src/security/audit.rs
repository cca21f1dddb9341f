//! What was refused, written down and counted. Audit lines are logged with the target `audit`; everything is counted, and
//! of a flood some lines are left out ([`audit_lines`](super::audit_lines)).

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_ledger::Principal;
use tokio_rustls::rustls::{CertificateError, Error, PeerIncompatible};

use super::audit_lines::{AuditLines, Source};
use super::verifier::Unwelcome;
use super::{Caller, Port};
use crate::intake::Useless;
use crate::metrics::SecurityMetrics;

/// How often lines that were left out are told of.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

tokio::task_local! {
    /// Whom the certificate of the handshake under way names. rustls does not tell what it refused.
    static CLAIMED: RefCell<Option<Principal>>;
}

/// Remembers whom a certificate names before it is known to be genuine.
pub(super) fn claims_to_be(principal: &Principal) {
    // Outside of a handshake nobody asks.
    let _ = CLAIMED.try_with(|claimed| *claimed.borrow_mut() = Some(principal.clone()));
}

/// Runs a handshake, and says whom the other's certificate named if it got that far.
pub(super) async fn with_claim<T>(handshake: impl Future<Output = T>) -> (T, Option<Principal>) {
    CLAIMED
        .scope(RefCell::new(None), async {
            let done = handshake.await;
            (done, CLAIMED.with(|claimed| claimed.borrow().clone()))
        })
        .await
}

/// Writes refusals down. Cheap to clone; all clones write together.
#[derive(Clone)]
pub(crate) struct Audit {
    pub(super) metrics: SecurityMetrics,
    lines: Arc<AuditLines>,
}

impl Audit {
    pub(super) fn new(metrics: SecurityMetrics) -> Self {
        Self {
            metrics,
            lines: Arc::new(AuditLines::new()),
        }
    }

    fn take(&self, source: Source) -> Option<u64> {
        let taken = self.lines.take(source);
        if taken.is_none() {
            self.metrics.audit_line_left_out();
        }
        taken
    }

    /// Tells of lines that were left out and of which no later line tells, forever.
    pub(super) async fn keep_telling(self) {
        loop {
            tokio::time::sleep(TELL_INTERVAL).await;
            self.tell();
        }
    }

    fn tell(&self) {
        for (source, left_out) in self.lines.untold() {
            let (principal, address) = match source {
                Some(Source::Principal(principal)) => (Some(principal), None),
                Some(Source::Address(address)) => (None, Some(address)),
                Some(Source::Nowhere) | None => (None, None),
            };
            tracing::warn!(
                target: "audit",
                event = "left_out",
                principal = principal.as_ref().map(Principal::as_str),
                peer_ip = address.map(tracing::field::display),
                left_out,
            );
        }
    }
}

/// A handshake failed: nobody came in.
pub(super) fn handshake_refused(
    audit: &Audit,
    port: Port,
    address: SocketAddr,
    claimed: Option<&Principal>,
    error: &io::Error,
) {
    let reason = handshake_reason(error);
    audit.metrics.handshake_refused(port.as_str(), reason);
    let Some(left_out) = audit.take(Source::Address(address.ip())) else {
        return;
    };
    tracing::warn!(
        target: "audit",
        event = "handshake_refused",
        port = port.as_str(),
        peer_address = %address,
        claimed_principal = claimed.map(Principal::as_str),
        reason,
        detail = %error,
        left_out,
    );
}

/// A connection was closed before anything was said.
pub(super) fn connection_refused(audit: &Audit, port: Port, address: SocketAddr, limit: usize) {
    audit
        .metrics
        .handshake_refused(port.as_str(), "too_many_connections");
    let Some(left_out) = audit.take(Source::Address(address.ip())) else {
        return;
    };
    tracing::warn!(
        target: "audit",
        event = "connection_refused",
        port = port.as_str(),
        peer_address = %address,
        reason = "too_many_connections",
        limit,
        left_out,
    );
}

/// A connection was closed because it was of no use.
pub(super) fn connection_closed(audit: &Audit, port: Port, address: SocketAddr, why: Useless) {
    audit.metrics.connection_closed(port.as_str(), why.label());
    let Some(left_out) = audit.take(Source::Address(address.ip())) else {
        return;
    };
    tracing::warn!(
        target: "audit",
        event = "connection_closed",
        port = port.as_str(),
        peer_address = %address,
        reason = why.label(),
        left_out,
    );
}

/// The system gives no connection, though somebody asks for one.
pub(super) fn cannot_accept(audit: &Audit, port: Port, error: &io::Error) {
    audit.metrics.handshake_refused(port.as_str(), "not_accepted");
    if let Some(left_out) = audit.take(Source::Nowhere) {
        tracing::warn!(port = port.as_str(), %error, left_out, "cannot accept a connection");
    }
}

/// What a caller was denied.
pub(super) struct Denial<'a> {
    pub(super) verb: &'static str,
    /// Names separated by commas, `*` for every one, empty where none is concerned.
    pub(super) storefront: &'a str,
    pub(super) warehouse: &'a str,
    pub(super) reason: &'static str,
}

/// A caller was denied what it asked for.
pub(super) fn denied(audit: &Audit, caller: &Caller, denial: &Denial<'_>) {
    audit.metrics.denied(denial.verb, denial.reason);
    let Some(left_out) = audit.take(Source::Principal(caller.principal.clone())) else {
        return;
    };
    tracing::warn!(
        target: "audit",
        event = "denied",
        principal = caller.principal.as_str(),
        verb = denial.verb,
        storefront = denial.storefront,
        warehouse = denial.warehouse,
        peer_address = %caller.address,
        reason = denial.reason,
        left_out,
    );
}

/// A caller did what only operators do. `node_ids` are written when the call is about nodes, `shard` when it is about one.
pub(crate) fn administered(caller: &Caller, what: &'static str, node_ids: &[u64], shard: Option<u32>) {
    tracing::info!(
        target: "audit",
        event = "administered",
        principal = caller.principal.as_str(),
        verb = "admin",
        peer_address = %caller.address,
        what,
        node_ids = (!node_ids.is_empty()).then(|| tracing::field::debug(node_ids)),
        shard,
    );
}

/// The reason's word, as in the label of the metric.
fn handshake_reason(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::TimedOut {
        return "timeout";
    }
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match tls {
        Some(Error::NoCertificatesPresented) => "no_certificate",
        Some(Error::InvalidCertificate(certificate)) => certificate_reason(certificate),
        Some(Error::InvalidMessage(_)) => "not_tls",
        Some(Error::PeerIncompatible(PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon)) => {
            "no_certificate"
        }
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "incompatible",
        // The other one does not like what it saw of us.
        Some(Error::AlertReceived(_)) => "refused_by_caller",
        Some(_) => "protocol",
        None => "broken",
    }
}

fn certificate_reason(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "not_valid_yet",
        CertificateError::UnknownIssuer
        | CertificateError::BadSignature
        | CertificateError::UnsupportedSignatureAlgorithmContext { .. } => "unknown_ca",
        CertificateError::Revoked => "revoked",
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => "wrong_purpose",
        CertificateError::Other(other) => match other.0.downcast_ref::<Unwelcome>() {
            Some(Unwelcome::NotANode(_) | Unwelcome::AnotherNode { .. }) => "not_a_node",
            Some(Unwelcome::Holder(_)) => "bad_name",
            None => "bad_certificate",
        },
        _ => "bad_certificate",
    }
}
