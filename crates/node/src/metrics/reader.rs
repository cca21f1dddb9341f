//! The node's metrics for whoever sends them elsewhere.

use std::sync::{Arc, Weak};

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;

use crate::api::Api;

/// Reads a node's metrics as long as it is there. Cheap to clone.
#[derive(Clone)]
pub struct MetricsReader(Weak<Api>);

impl std::fmt::Debug for MetricsReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MetricsReader").finish_non_exhaustive()
    }
}

impl MetricsReader {
    pub(crate) fn new(api: &Arc<Api>) -> Self {
        Self(Arc::downgrade(api))
    }

    /// The same numbers as on `/metrics`; none when the node is gone.
    pub fn read(&self) -> Option<Vec<MetricFamily>> {
        let api = self.0.upgrade()?;
        let ready = api.not_ready_because().is_none();
        api.metrics.read(ready).ok()
    }
}
