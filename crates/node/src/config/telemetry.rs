//! The section about the export of traces and metrics.

use serde::{Deserialize, Serialize};

use super::NodeConfig;
use super::validate::check_range;

/// The export of traces and metrics, besides what `/metrics` shows. Without an endpoint, nothing is sent and
/// telemetry costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySection {
    /// The address of an OpenTelemetry collector that takes OTLP over gRPC, in plaintext, as
    /// `http://host:port`. Most often the collector is on the same machine. Default: none, nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otlp_endpoint: Option<String>,
    /// The number of calls in a thousand that are traced, 0 to 1000. This applies to calls that come without
    /// a `traceparent`. A call with a `traceparent` is traced if the `traceparent` says that it is sampled,
    /// and not otherwise. Default: 1.
    pub trace_per_mille: u32,
    /// The interval at which metrics are sent, in milliseconds, 1000 to 3600000. Default: 30000.
    pub metrics_interval_ms: u64,
    /// The time that the collector may take for one message, and for the last messages when the node stops,
    /// in milliseconds, 100 to 60000. Messages that it has not taken by then are dropped. Default: 5000.
    pub timeout_ms: u64,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            trace_per_mille: 1,
            metrics_interval_ms: 30_000,
            timeout_ms: 5_000,
        }
    }
}

impl NodeConfig {
    pub(super) fn check_telemetry(&self, problems: &mut Vec<String>) {
        let telemetry = &self.telemetry;
        if let Some(endpoint) = &telemetry.otlp_endpoint {
            let plain = |url: &url::Url| url.scheme() == "http" && url.has_host();
            if !url::Url::parse(endpoint).is_ok_and(|url| plain(&url)) {
                problems.push(format!(
                    "telemetry.otlp_endpoint is `{endpoint}`: write http://host:port of a collector that takes OTLP over gRPC, for example http://127.0.0.1:4317; for one behind TLS, run an agent on this machine"
                ));
            }
        }
        let per_mille = u64::from(telemetry.trace_per_mille);
        check_range(problems, "telemetry.trace_per_mille", per_mille, 0..=1_000);
        let interval = telemetry.metrics_interval_ms;
        check_range(
            problems,
            "telemetry.metrics_interval_ms",
            interval,
            1_000..=3_600_000,
        );
        check_range(
            problems,
            "telemetry.timeout_ms",
            telemetry.timeout_ms,
            100..=60_000,
        );
    }
}
