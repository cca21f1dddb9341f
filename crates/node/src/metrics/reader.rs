//! A reader of the node's metrics, for code that sends them elsewhere.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;

use crate::api::Api;

/// Reads a node's metrics, even after the node has stopped. As long as a reader exists, the node's memory is
/// not freed. Cheap to clone.
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

    /// Returns the same numbers as `/metrics`.
    ///
    /// # Errors
    /// A label could not be formatted, which does not happen with a node's labels.
    pub fn read(&self) -> Result<Vec<MetricFamily>, fmt::Error> {
        self.0.metrics.read(self.0.not_ready_because().is_none())
    }
}
