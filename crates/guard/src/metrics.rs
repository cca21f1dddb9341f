//! The metrics of connections, refusals and reloads.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    port: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PortLabels {
    port: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    what: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DenialLabels {
    verb: &'static str,
    reason: &'static str,
}

/// The metrics of security. Cheap to clone; all clones share the same counters.
#[derive(Debug, Clone, Default)]
pub struct SecurityMetrics {
    handshakes_refused: Family<HandshakeLabels, Counter>,
    denials: Family<DenialLabels, Counter>,
    rate_limited: Counter,
    audit_lines_left_out: Counter,
    reloads: Family<ReloadLabels, Counter>,
    certificate_expires: Gauge,
    revocation_lists_expire: Gauge,
    connections: Family<PortLabels, Gauge>,
    connections_closed: Family<HandshakeLabels, Counter>,
}

/// Counts one open connection until it is dropped.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl SecurityMetrics {
    /// Registers all metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "handshakes_refused",
            "Connections that were refused before any call, by port and reason",
            self.handshakes_refused.clone(),
        );
        registry.register(
            "denials",
            "Calls, batch items and streams that the access policy denied, by verb and by what no rule allowed",
            self.denials.clone(),
        );
        registry.register(
            "rate_limited",
            "Calls and batch items that were refused because their principal had reached its limit of requests a second",
            self.rate_limited.clone(),
        );
        registry.register(
            "audit_lines_left_out",
            "Audit lines about refusals that were not written, because one caller or all callers had too many",
            self.audit_lines_left_out.clone(),
        );
        registry.register(
            "security_reloads",
            "New certificates or access policies, by whether they were taken or refused as bad",
            self.reloads.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open, by port",
            self.connections.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections that were closed because they were silent or did not read their answers, by port and reason",
            self.connections_closed.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_expires_timestamp",
            "When this node's certificate expires, in seconds since the Unix epoch; 0 without TLS",
            Unit::Seconds,
            self.certificate_expires.clone(),
        );
        registry.register_with_unit(
            "tls_revocation_lists_expire_timestamp",
            "When the first of the revocation lists gets out of date, in seconds since the Unix epoch; 0 without such lists",
            Unit::Seconds,
            self.revocation_lists_expire.clone(),
        );
    }

    /// Counts a connection that was refused before any call.
    pub fn handshake_refused(&self, port: &'static str, reason: &'static str) {
        self.handshakes_refused
            .get_or_create(&HandshakeLabels { port, reason })
            .inc();
    }

    /// Counts an open connection until the returned value is dropped.
    pub fn connection(&self, port: &'static str) -> OpenConnection {
        let open = self.connections.get_or_create_owned(&PortLabels { port });
        open.inc();
        OpenConnection(open)
    }

    /// Counts a connection that the server closed because it was of no use.
    pub fn connection_closed(&self, port: &'static str, reason: &'static str) {
        self.connections_closed
            .get_or_create(&HandshakeLabels { port, reason })
            .inc();
    }

    /// Counts a request that the access policy denied.
    pub fn denied(&self, verb: &'static str, reason: &'static str) {
        self.denials.get_or_create(&DenialLabels { verb, reason }).inc();
    }

    /// Counts a request beyond the limit of its principal.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// Counts an audit line that was left out.
    pub fn audit_line_left_out(&self) {
        self.audit_lines_left_out.inc();
    }

    /// Counts a reload of `what`. `taken` says whether the new version was good and is in use.
    pub fn reloaded(&self, what: &'static str, taken: bool) {
        let result = if taken { "taken" } else { "bad" };
        self.reloads.get_or_create(&ReloadLabels { what, result }).inc();
    }

    /// Sets when the certificate in use expires, in seconds since the Unix epoch.
    pub fn certificate_expires(&self, at_s: i64) {
        self.certificate_expires.set(at_s);
    }

    /// Sets when the first of the revocation lists in use expires, in seconds since the Unix epoch.
    pub fn revocation_lists_expire(&self, at_s: i64) {
        self.revocation_lists_expire.set(at_s);
    }
}
