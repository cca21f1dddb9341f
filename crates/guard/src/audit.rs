//! Logs and counts refusals. Audit lines are logged with the target `audit`. Every refusal is counted. When
//! too many come at once, some lines are left out (`audit_lines.rs`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::names::{ConsumerName, Principal};
use tokio_rustls::rustls::{CertificateError, Error, PeerIncompatible};

use crate::audit_lines::{AuditLines, Source};
use crate::metrics::SecurityMetrics;
use crate::port::Port;
use crate::verifier::PeerRejected;

/// The interval at which the number of left-out lines is logged.
const TELL_INTERVAL: Duration = Duration::from_secs(10);

/// Logs refusals and counts them. Cheap to clone; all clones share one set of limits and counters.
#[derive(Clone)]
pub struct Audit {
    metrics: SecurityMetrics,
    lines: Arc<AuditLines>,
}

impl Audit {
    /// Returns an audit that has logged no line yet.
    pub fn new(metrics: SecurityMetrics) -> Self {
        Self {
            metrics,
            lines: Arc::new(AuditLines::new()),
        }
    }

    /// Returns the counters that refusals are counted in.
    pub fn metrics(&self) -> &SecurityMetrics {
        &self.metrics
    }

    fn take(&self, source: Source) -> Option<u64> {
        let taken = self.lines.take(source);
        if taken.is_none() {
            self.metrics.audit_line_left_out();
        }
        taken
    }

    /// Runs forever, and logs at intervals how many lines were left out. Skips those that a later audit line
    /// has reported.
    pub async fn keep_telling(self) {
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

/// Records a failed handshake, after which the connection is closed.
pub fn handshake_refused(
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

/// Records a connection that was closed before its handshake, because `limit` connections are open.
pub fn connection_refused(audit: &Audit, port: Port, address: SocketAddr, limit: usize) {
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

/// Records an open connection that the server closed because it was of no use; `reason` is a fixed word.
pub fn connection_closed(audit: &Audit, port: Port, address: SocketAddr, reason: &'static str) {
    audit.metrics.connection_closed(port.as_str(), reason);
    let Some(left_out) = audit.take(Source::Address(address.ip())) else {
        return;
    };
    tracing::warn!(
        target: "audit",
        event = "connection_closed",
        port = port.as_str(),
        peer_address = %address,
        reason,
        left_out,
    );
}

/// Records that the operating system failed to accept a connection.
pub fn cannot_accept(audit: &Audit, port: Port, error: &io::Error) {
    audit.metrics.handshake_refused(port.as_str(), "not_accepted");
    if let Some(left_out) = audit.take(Source::Nowhere) {
        tracing::warn!(port = port.as_str(), %error, left_out, "cannot accept a connection");
    }
}

/// The sender of a request: the principal of its certificate, and its address.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The principal of the sender's certificate.
    pub principal: &'a Principal,
    /// The other end of the connection.
    pub address: SocketAddr,
}

/// A refusal by the policy.
pub struct Denial<'a> {
    /// The verb's word in the policy file.
    pub verb: &'static str,
    /// The storefronts' names separated by commas; `*` for every one, empty for none.
    pub storefront: &'a str,
    /// The warehouses' names, in the same format.
    pub warehouse: &'a str,
    /// The word for the part that no rule allows.
    pub reason: &'static str,
}

/// Records a request that the access policy denied.
pub fn denied(audit: &Audit, asker: Asker<'_>, denial: &Denial<'_>) {
    audit.metrics.denied(denial.verb, denial.reason);
    let Some(left_out) = audit.take(Source::Principal(asker.principal.clone())) else {
        return;
    };
    tracing::warn!(
        target: "audit",
        event = "denied",
        principal = asker.principal.as_str(),
        verb = denial.verb,
        storefront = denial.storefront,
        warehouse = denial.warehouse,
        peer_address = %asker.address,
        reason = denial.reason,
        left_out,
    );
}

/// Records an administrative call. `node_ids` are logged when the call is about nodes, `shard` when it is
/// about a shard.
pub fn administered(asker: Asker<'_>, what: &'static str, node_ids: &[u64], shard: Option<u32>) {
    tracing::info!(
        target: "audit",
        event = "administered",
        principal = asker.principal.as_str(),
        verb = "admin",
        peer_address = %asker.address,
        what,
        node_ids = (!node_ids.is_empty()).then(|| tracing::field::debug(node_ids)),
        shard,
    );
}

/// Records that a consumer of the change stream is registered (`required` or not) or removed.
pub fn about_consumer(asker: Asker<'_>, what: &'static str, consumer: &ConsumerName, required: bool) {
    tracing::info!(
        target: "audit",
        event = "administered",
        principal = asker.principal.as_str(),
        peer_address = %asker.address,
        what,
        consumer = consumer.as_str(),
        required,
    );
}

/// Returns the word for the failure of a handshake, which is also the label of the metric.
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
        // The peer refused our certificate or our offer.
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
        CertificateError::Other(other) => match other.0.downcast_ref::<PeerRejected>() {
            Some(PeerRejected::NotANode(_) | PeerRejected::AnotherNode { .. }) => "not_a_node",
            Some(PeerRejected::Holder(_)) => "bad_name",
            None => "bad_certificate",
        },
        _ => "bad_certificate",
    }
}
