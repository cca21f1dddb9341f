//! The node's metrics for whoever sends them elsewhere.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;

use crate::api::Api;

/// Reads a node's metrics, also after it has stopped; while there is one, what the node has in memory stays. Cheap to clone.
#[derive(Clone)]
pub struct MetricsReader(Arc<Api>);

impl fmt::Debug for MetricsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsReader").finish_non_exhaustive()
    }
}

impl MetricsReader {
    pub(crate) fn new(api: &Arc<Api>) -> Self {
        Self(Arc::clone(api))
    }

    /// The same numbers as on `/metrics`.
    ///
    /// # Errors
    /// A label could not be written, which those of a node can.
    pub fn read(&self) -> Result<Vec<MetricFamily>, fmt::Error> {
        self.0.metrics.read(self.0.not_ready_because().is_none())
    }
}
