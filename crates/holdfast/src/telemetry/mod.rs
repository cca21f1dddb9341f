//! Traces and metrics for an OpenTelemetry collector, over OTLP.
//!
//! Everything here runs on the command line's own threads, not on the node's. What the collector does not
//! take in time is dropped, so a slow or missing collector costs the node nothing.

mod convert;
mod metrics;

use std::time::Duration;

use anyhow::Context as _;
use holdfast_node::config::{NodeConfig, TelemetrySection};
use holdfast_node::{MetricsReader, TRACE_TARGET};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// Most spans that wait to be sent; further ones are dropped.
const WAITING_SPANS: usize = 8_192;
/// Longest time that a span waits for others to be sent with.
const SPAN_PATIENCE: Duration = Duration::from_secs(1);

/// The running export of traces and metrics. Dropping it without [`Telemetry::stop`] drops what was not sent
/// yet.
pub(crate) struct Telemetry {
    traces: SdkTracerProvider,
    metrics: JoinHandle<()>,
    node: watch::Sender<Option<MetricsReader>>,
    stopping: watch::Sender<bool>,
    timeout: Duration,
}

impl Telemetry {
    /// Begins to send when the configuration names a collector. Runs in the current tokio runtime, which must
    /// outlive the node.
    ///
    /// # Errors
    /// When the endpoint cannot be used.
    pub(crate) fn start(config: &NodeConfig) -> anyhow::Result<Option<Self>> {
        let TelemetrySection {
            otlp_endpoint: Some(endpoint),
            metrics_interval,
            timeout,
            ..
        } = &config.telemetry
        else {
            return Ok(None);
        };
        let (timeout, interval) = (timeout.duration(), metrics_interval.duration());
        let resource = resource(config);
        let cannot = || format!("telemetry.otlp_endpoint is `{endpoint}`, which cannot be used");
        let exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(endpoint)
            .with_timeout(timeout)
            .build()
            .with_context(cannot)?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_SPANS)
            .with_scheduled_delay(SPAN_PATIENCE)
            .build();
        let processor = BatchSpanProcessor::builder(exporter)
            .with_batch_config(batches)
            .build();
        let traces = SdkTracerProvider::builder()
            .with_span_processor(processor)
            // The node makes spans only of what it wants traced.
            .with_sampler(Sampler::AlwaysOn)
            .with_resource(resource.clone())
            .build();
        let (node, of_node) = watch::channel(None);
        let (stopping, told_to_stop) = watch::channel(false);
        let sender = metrics::Sender::new(endpoint, timeout, &resource).with_context(cannot)?;
        let metrics = tokio::spawn(sender.run(interval, of_node, told_to_stop));
        Ok(Some(Self {
            traces,
            metrics,
            node,
            stopping,
            timeout,
        }))
    }

    /// Returns the layer that takes the spans of traces, and no others.
    pub(crate) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + 'static
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.traces.tracer("holdfast"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TRACE_TARGET, tracing::Level::INFO))
    }

    /// Returns the channel into which the node puts its metrics once it has started.
    pub(crate) fn node(&self) -> watch::Sender<Option<MetricsReader>> {
        self.node.clone()
    }

    /// Sends what waits, within the configured time, and ends.
    pub(crate) async fn stop(self) {
        self.stopping.send_replace(true);
        let (traces, timeout) = (self.traces, self.timeout);
        // The shutdown blocks its thread.
        let flushed = tokio::task::spawn_blocking(move || traces.shutdown_with_timeout(timeout));
        let both = async {
            match flushed.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "the last spans were not sent"),
                Err(error) => tracing::warn!(%error, "the last spans were not sent"),
            }
            if let Err(error) = self.metrics.await {
                tracing::warn!(%error, "the last metrics were not sent");
            }
        };
        if tokio::time::timeout(timeout + SPAN_PATIENCE, both).await.is_err() {
            tracing::warn!("the collector did not accept the last spans and metrics in time");
        }
    }
}

/// Describes this node as the sender.
fn resource(config: &NodeConfig) -> Resource {
    let node_id = config.node.node_id.to_string();
    let cluster = config.node.cluster_id.unwrap_or_default().to_string();
    Resource::builder()
        .with_attributes([
            KeyValue::new("service.name", "holdfast"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.namespace", cluster),
            KeyValue::new("service.instance.id", node_id),
        ])
        .build()
}
