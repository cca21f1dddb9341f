//! Export of the node's metrics to a collector, at an interval.

use std::time::Duration;

use holdfast_node::MetricsReader;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource as WireResource;
use opentelemetry_sdk::Resource;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tonic::transport::{Channel, Endpoint};

use super::convert::{self, Times};
use crate::clock;

/// A sender of metrics to one collector.
pub(super) struct Sender {
    client: MetricsServiceClient<Channel>,
    resource: WireResource,
    timeout: Duration,
    start_ns: u64,
    /// Whether the collector refused the last metrics. It is logged once, until the collector takes metrics
    /// again.
    told: bool,
}

fn now_ns() -> u64 {
    clock::since_epoch().map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

impl Sender {
    /// Makes a sender. It connects when it first sends.
    ///
    /// # Errors
    /// When the endpoint is not an address.
    pub(super) fn new(
        endpoint: &str,
        timeout: Duration,
        resource: &Resource,
    ) -> Result<Self, tonic::transport::Error> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(timeout)
            .timeout(timeout)
            .connect_lazy();
        let attributes = resource.iter().map(|(key, value)| KeyValue {
            key: key.to_string(),
            value: Some(AnyValue {
                value: Some(Value::StringValue(value.to_string())),
            }),
            ..KeyValue::default()
        });
        Ok(Self {
            client: MetricsServiceClient::new(channel),
            resource: WireResource {
                attributes: attributes.collect(),
                ..WireResource::default()
            },
            timeout,
            start_ns: now_ns(),
            told: false,
        })
    }

    /// Sends the metrics of the node every `interval`, and once more when asked to stop.
    pub(super) async fn run(
        mut self,
        interval: Duration,
        mut node: watch::Receiver<Option<MetricsReader>>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first metrics are due when the node has started.
        tokio::select! {
            _ = node.wait_for(Option::is_some) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        loop {
            let last = tokio::select! {
                _ = ticks.tick() => false,
                // A dropped sender of `stopping` ends the loop too.
                _ = stopping.wait_for(|stop| *stop) => true,
            };
            let reader = node.borrow().clone();
            if let Some(reader) = reader {
                self.send(&reader).await;
            }
            if last {
                return;
            }
        }
    }

    async fn send(&mut self, reader: &MetricsReader) {
        let families = match reader.read() {
            Ok(families) => families,
            Err(error) => {
                tracing::error!(%error, "the metrics cannot be read");
                return;
            }
        };
        let times = Times {
            start_ns: self.start_ns,
            now_ns: now_ns(),
        };
        let metrics = ScopeMetrics {
            scope: Some(InstrumentationScope {
                name: "holdfast".to_owned(),
                version: env!("CARGO_PKG_VERSION").to_owned(),
                ..InstrumentationScope::default()
            }),
            metrics: convert::metrics(families, times),
            ..ScopeMetrics::default()
        };
        let request = ExportMetricsServiceRequest {
            resource_metrics: vec![ResourceMetrics {
                resource: Some(self.resource.clone()),
                scope_metrics: vec![metrics],
                ..ResourceMetrics::default()
            }],
        };
        // The channel's own timeout does not include the time to connect.
        let why = match tokio::time::timeout(self.timeout, self.client.export(request)).await {
            Ok(Ok(_)) => None,
            Ok(Err(status)) => Some(status.to_string()),
            Err(_) => Some(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        match &why {
            None if self.told => tracing::info!("the collector accepts metrics again"),
            Some(why) if !self.told => tracing::warn!(why, "the collector does not accept metrics"),
            _ => {}
        }
        self.told = why.is_some();
    }
}
