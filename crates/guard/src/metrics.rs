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

/// What is counted about security. Cheap to clone; all clones count together.
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

/// Counts one connection as long as it is there.
#[derive(Debug)]
pub struct OpenConnection(Gauge);

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl SecurityMetrics {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "handshakes_refused",
            "Connections that were refused before any call, by port and reason",
            self.handshakes_refused.clone(),
        );
        registry.register(
            "denials",
            "Calls, items of batches and streams that were denied, by verb and by what no rule had",
            self.denials.clone(),
        );
        registry.register(
            "rate_limited",
            "Calls and items of batches that went beyond the limit of their principal",
            self.rate_limited.clone(),
        );
        registry.register(
            "audit_lines_left_out",
            "Lines about refusals that were not written, because their caller or all callers had too many",
            self.audit_lines_left_out.clone(),
        );
        registry.register(
            "security_reloads",
            "New certificates or policies that were taken or, being bad, not taken",
            self.reloads.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open, by port",
            self.connections.clone(),
        );
        registry.register(
            "connections_closed",
            "Connections that were closed because they said nothing or did not read their answers, by port and reason",
            self.connections_closed.clone(),
        );
        registry.register_with_unit(
            "tls_certificate_expires_timestamp",
            "When this node's certificate ends, seconds since the Unix epoch; 0 without TLS",
            Unit::Seconds,
            self.certificate_expires.clone(),
        );
        registry.register_with_unit(
            "tls_revocation_lists_expire_timestamp",
            "When the first of the revocation lists is out of date, seconds since the Unix epoch; 0 without such lists",
            Unit::Seconds,
            self.revocation_lists_expire.clone(),
        );
    }

    /// A connection was refused before any call.
    pub fn handshake_refused(&self, port: &'static str, reason: &'static str) {
        self.handshakes_refused
            .get_or_create(&HandshakeLabels { port, reason })
            .inc();
    }

    /// A connection was let in; it ends when the answer is dropped.
    pub fn connection(&self, port: &'static str) -> OpenConnection {
        let open = self.connections.get_or_create_owned(&PortLabels { port });
        open.inc();
        OpenConnection(open)
    }

    /// A connection was closed because it was of no use.
    pub fn connection_closed(&self, port: &'static str, reason: &'static str) {
        self.connections_closed
            .get_or_create(&HandshakeLabels { port, reason })
            .inc();
    }

    /// A caller was denied what it asked for.
    pub fn denied(&self, verb: &'static str, reason: &'static str) {
        self.denials.get_or_create(&DenialLabels { verb, reason }).inc();
    }

    /// A principal went beyond its limit.
    pub fn rate_limited(&self) {
        self.rate_limited.inc();
    }

    /// A line about a refusal was not written.
    pub fn audit_line_left_out(&self) {
        self.audit_lines_left_out.inc();
    }

    /// `what` was new: taken, or bad and not taken.
    pub fn reloaded(&self, what: &'static str, taken: bool) {
        let result = if taken { "taken" } else { "bad" };
        self.reloads.get_or_create(&ReloadLabels { what, result }).inc();
    }

    /// The certificate in use ends then, in seconds since the Unix epoch.
    pub fn certificate_expires(&self, at_s: i64) {
        self.certificate_expires.set(at_s);
    }

    /// The first of the revocation lists in use is out of date then, in seconds since the Unix epoch.
    pub fn revocation_lists_expire(&self, at_s: i64) {
        self.revocation_lists_expire.set(at_s);
    }
}
