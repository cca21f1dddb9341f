//! The section about the export of traces and metrics.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NodeConfig;
use super::units::TimeSpan;

/// The export of traces and metrics, besides what `/metrics` shows. Without an endpoint, nothing is sent and
/// telemetry costs nothing. `docs/observability.md` describes the traces and metrics.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySection {
    /// The address of an OpenTelemetry collector that takes OTLP over gRPC, in plaintext, as
    /// `http://host:port`. Most often the collector is on the same machine. Default: none, nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = "http://127.0.0.1:4317")]
    pub otlp_endpoint: Option<String>,
    /// The number of calls in a thousand that are traced. This applies to calls that come without a
    /// `traceparent`. A call with a `traceparent` is traced if the `traceparent` says that it is sampled, and
    /// not otherwise.
    #[schemars(range(min = 0, max = 1_000))]
    pub trace_per_mille: u32,
    /// The interval at which metrics are sent.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h", "x-old-key" = "metrics_interval_ms"))]
    pub metrics_interval: TimeSpan,
    /// The time that the collector may take for one message, and for the last messages when the node stops.
    /// Messages that it has not taken by then are dropped.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "1m", "x-old-key" = "timeout_ms"))]
    pub timeout: TimeSpan,
}

impl Default for TelemetrySection {
    fn default() -> Self {
        Self {
            otlp_endpoint: None,
            trace_per_mille: 1,
            metrics_interval: TimeSpan::from_secs(30),
            timeout: TimeSpan::from_secs(5),
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
    }
}
