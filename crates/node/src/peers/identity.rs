//! The greeting in every call between nodes. It says who calls whom, so that a wrong address is found at
//! once.

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Status};
use uuid::Uuid;

const CLUSTER: &str = "holdfast-cluster";
const FROM: &str = "holdfast-from";
const TO: &str = "holdfast-to";

/// The identity of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The id of its cluster.
    pub cluster_id: Uuid,
    /// The number of the node in the cluster.
    pub node_id: u64,
}

/// The identity of this node, and the node that it means to call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Greeting {
    identity: Identity,
    to: u64,
}

impl Identity {
    pub(super) fn to(self, node_id: u64) -> Greeting {
        Greeting {
            identity: self,
            to: node_id,
        }
    }

    /// Checks a greeting, and returns the node that sent it.
    pub(super) fn check(&self, metadata: &MetadataMap) -> Result<u64, Status> {
        let text = |key: &str| {
            metadata
                .get(key)
                .and_then(|value| value.to_str().ok())
                .unwrap_or_default()
        };
        let number = |key: &str| text(key).parse::<u64>().unwrap_or_default();
        if text(CLUSTER) != self.cluster_id.to_string() {
            return Err(Status::failed_precondition(format!(
                "this is node {} of cluster {}, the caller belongs to cluster `{}`: correct node.cluster_id or the address",
                self.node_id,
                self.cluster_id,
                text(CLUSTER)
            )));
        }
        if number(TO) != self.node_id {
            return Err(Status::failed_precondition(format!(
                "this is node {}, the caller looks for node {}: correct the addresses in peers",
                self.node_id,
                number(TO)
            )));
        }
        match number(FROM) {
            0 => Err(Status::failed_precondition(
                "the caller does not say which node it is",
            )),
            from if from == self.node_id => Err(Status::failed_precondition(format!(
                "two nodes call themselves {from}: give each its own node.node_id"
            ))),
            from => Ok(from),
        }
    }
}

impl Greeting {
    /// Writes the greeting into the metadata of a request.
    pub(super) fn stamp<T>(&self, mut request: Request<T>) -> Request<T> {
        let cluster = self.identity.cluster_id.to_string();
        if let Ok(cluster) = AsciiMetadataValue::try_from(cluster) {
            request.metadata_mut().insert(CLUSTER, cluster);
        }
        request
            .metadata_mut()
            .insert(FROM, AsciiMetadataValue::from(self.identity.node_id));
        request
            .metadata_mut()
            .insert(TO, AsciiMetadataValue::from(self.to));
        request
    }
}
