//! The metrics of `/metrics`. Every metric is defined once, with its name, unit, help and labels: here, in
//! `metrics/`, or in the crate `holdfast-guard`.
//!
//! Labels have few values: methods of the API, gRPC codes, reasons, shards, roles. They never have a SKU or a
//! caller.

pub(crate) mod classic;
mod consumers;
mod reader;
mod replicas;
mod resources;
mod streams;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use holdfast_api::reasons;
use holdfast_api::v1::Reason;
use holdfast_guard::metrics::SecurityMetrics;
use holdfast_shard::ShardHandle;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::encoding::{EncodeLabelSet, prometheus_protobuf};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use tonic::Code;

pub use reader::MetricsReader;
use replicas::Replicas;
pub(crate) use resources::Resources;
pub(crate) use streams::Following;
use streams::{Streams, StreamsCollector};

/// The exemplars of a histogram that has none, as an encoder takes them.
const NO_EXEMPLARS: Option<&HashMap<usize, Exemplar<NoLabels, f64>>> = None;
type NoLabels = [(&'static str, &'static str); 0];

/// Returns a histogram of seconds, with buckets that double from 0.1 ms to 13 s.
fn latency_buckets() -> Histogram {
    Histogram::new((0..18).map(|power| 0.000_1 * f64::from(1_u32 << power)))
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MethodLabels {
    method: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IntakeLabels {
    limit: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ShardLabels {
    shard: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabels {
    peer: u64,
}

/// The metrics of a node. The services count as they work; the replicas are read when the metrics are.
pub struct Metrics {
    registry: Registry,
    calls: Family<CallLabels, Counter>,
    durations: Family<MethodLabels, Histogram, fn() -> Histogram>,
    under_way: Family<MethodLabels, Gauge>,
    refusals: Family<ReasonLabels, Counter>,
    intake_refusals: Family<IntakeLabels, Counter>,
    replays: Counter,
    batch_items: Counter,
    streams: Streams,
    changes_sent: Counter,
    ready: Gauge,
}

impl Metrics {
    /// Registers all metrics of one node.
    pub(crate) fn new(
        node_id: u64,
        shards: Arc<[ShardHandle]>,
        resources: Resources,
        security: &SecurityMetrics,
    ) -> Self {
        let mut registry = Registry::with_prefix("holdfast");
        let build = Info::new(vec![
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("node_id".to_owned(), node_id.to_string()),
        ]);
        registry.register("node", "The version and id of this node", build);

        let calls = Family::default();
        registry.register(
            "calls",
            "Calls that ended, by method and gRPC code",
            calls.clone(),
        );
        let durations: Family<MethodLabels, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(latency_buckets);
        registry.register_with_unit(
            "call_duration",
            "Time from the arrival of a unary call to its answer",
            Unit::Seconds,
            durations.clone(),
        );
        let under_way = Family::default();
        registry.register("calls_under_way", "Calls that have not ended", under_way.clone());
        let refusals = Family::default();
        registry.register(
            "refusals",
            "Requests and batch items that were refused or whose outcome is unknown, by reason",
            refusals.clone(),
        );
        let intake_refusals = Family::default();
        registry.register(
            "intake_refusals",
            "Calls that were refused before they were decoded, by the limit that they met",
            intake_refusals.clone(),
        );
        let replays = Counter::default();
        registry.register(
            "replays",
            "Operations that were answered with their first outcome, because they had taken effect before",
            replays.clone(),
        );
        let batch_items = Counter::default();
        registry.register(
            "batch_items",
            "Items of batches that were answered",
            batch_items.clone(),
        );
        let changes_sent = Counter::default();
        registry.register("changes_sent", "Changes sent to consumers", changes_sent.clone());
        let ready = Gauge::default();
        registry.register(
            "ready",
            "1 where /readyz reports the node as ready, else 0",
            ready.clone(),
        );
        security.register(&mut registry);
        let streams = Streams::default();
        registry.register_collector(Box::new(StreamsCollector {
            streams: streams.clone(),
            shards: Arc::clone(&shards),
        }));
        registry.register_collector(Box::new(resources));
        registry.register_collector(Box::new(Replicas { shards }));
        Self {
            registry,
            calls,
            durations,
            under_way,
            refusals,
            intake_refusals,
            replays,
            batch_items,
            streams,
            changes_sent,
            ready,
        }
    }

    /// Counts a call that began. It ends with [`Metrics::call_ended`].
    pub fn call_began(&self, method: &'static str) {
        self.under_way.get_or_create(&MethodLabels { method }).inc();
    }

    /// Counts a call that ended.
    pub fn call_ended(&self, method: &'static str, code: Code, duration: Duration) {
        self.under_way.get_or_create(&MethodLabels { method }).dec();
        self.calls
            .get_or_create(&CallLabels {
                method,
                code: reasons::code_name(code),
            })
            .inc();
        self.durations
            .get_or_create(&MethodLabels { method })
            .observe(duration.as_secs_f64());
    }

    /// Counts a request or an item of a batch that had no effect.
    pub fn refused(&self, reason: Reason) {
        self.refusals
            .get_or_create(&ReasonLabels {
                reason: reason.as_str_name(),
            })
            .inc();
    }

    /// Counts a call that was refused before it was decoded.
    pub(crate) fn intake_refused(&self, limit: &'static str) {
        self.intake_refusals.get_or_create(&IntakeLabels { limit }).inc();
    }

    /// Counts an operation that was answered with its first outcome.
    pub fn replayed(&self) {
        self.replays.inc();
    }

    /// Counts items of a batch that were answered.
    pub fn batch_items(&self, count: usize) {
        self.batch_items.inc_by(count as u64);
    }

    /// Counts a change stream of a shard, which begins with this change, until the returned value is dropped.
    pub(crate) fn change_stream(&self, shard: u32, from_seq: u64) -> Following {
        self.streams.begin(shard, from_seq)
    }

    /// Counts changes that were sent to a consumer.
    pub fn changes_sent(&self, count: usize) {
        self.changes_sent.inc_by(count as u64);
    }

    /// Returns all metrics in the OpenMetrics text format. `ready` says whether the node is ready.
    ///
    /// # Errors
    /// Formatting failed, which does not happen with a String.
    pub fn print(&self, ready: bool) -> Result<String, fmt::Error> {
        self.ready.set(i64::from(ready));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Returns all metrics as protobuf messages. `ready` says whether the node is ready.
    pub(crate) fn read(&self, ready: bool) -> Result<Vec<MetricFamily>, fmt::Error> {
        self.ready.set(i64::from(ready));
        prometheus_protobuf::encode(&self.registry)
    }
}
