//! Sends the node's metrics to a collector, again and again.

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

/// Speaks to one collector.
pub(super) struct Sender {
    client: MetricsServiceClient<Channel>,
    resource: WireResource,
    timeout: Duration,
    start_ns: u64,
    /// The collector did not take the last ones: told once, until it does.
    told: bool,
}

fn now_ns() -> u64 {
    clock::since_epoch().map_or(0, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

impl Sender {
    /// Connects when something is first sent.
    ///
    /// # Errors
    /// The endpoint is no address.
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

    /// Sends the metrics of the node every `interval`, and once more when it is told to stop.
    pub(super) async fn run(
        mut self,
        interval: Duration,
        mut node: watch::Receiver<Option<MetricsReader>>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // The first is due when the node has started.
        tokio::select! {
            _ = node.wait_for(Option::is_some) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
        loop {
            let last = tokio::select! {
                _ = ticks.tick() => false,
                // Whoever could tell is gone: that is an end too.
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
        // The channel's own limit does not count the time to connect.
        let why = match tokio::time::timeout(self.timeout, self.client.export(request)).await {
            Ok(Ok(_)) => None,
            Ok(Err(status)) => Some(status.to_string()),
            Err(_) => Some(format!("no answer within {} ms", self.timeout.as_millis())),
        };
        match &why {
            None if self.told => tracing::info!("the collector takes metrics again"),
            Some(why) if !self.told => tracing::warn!(why, "the collector does not take metrics"),
            _ => {}
        }
        self.told = why.is_some();
    }
}
