//! Who speaks to whom: every call between nodes says it, so that a wrong address is found at once.

use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Status};
use uuid::Uuid;

const CLUSTER: &str = "holdfast-cluster";
const FROM: &str = "holdfast-from";
const TO: &str = "holdfast-to";
const RESTORED_FROM: &str = "holdfast-restored-from";

/// Who this node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Its cluster.
    pub cluster_id: Uuid,
    /// Its number in the cluster.
    pub node_id: u64,
    /// The backup with which its data began; none: it began empty. The same on all nodes of a cluster.
    pub restored_from: Option<Uuid>,
}

/// Who this node is, and whom it believes to speak to.
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

    /// Checks a greeting, and says from which node it is.
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
        if text(RESTORED_FROM) != origin(self.restored_from) {
            let began = |backup: &str| match backup {
                "" => "empty".to_owned(),
                backup => format!("with backup {backup}"),
            };
            return Err(Status::failed_precondition(format!(
                "this node began {}, the caller {}: restore every node of a new cluster from the same backup before its first start",
                began(&origin(self.restored_from)),
                began(text(RESTORED_FROM)),
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

fn origin(restored_from: Option<Uuid>) -> String {
    restored_from.map(|backup| backup.to_string()).unwrap_or_default()
}

impl Greeting {
    /// Writes the greeting on a request.
    pub(super) fn stamp<T>(&self, mut request: Request<T>) -> Request<T> {
        let cluster = self.identity.cluster_id.to_string();
        if let Ok(cluster) = AsciiMetadataValue::try_from(cluster) {
            request.metadata_mut().insert(CLUSTER, cluster);
        }
        if let Ok(origin) = AsciiMetadataValue::try_from(origin(self.identity.restored_from)) {
            request.metadata_mut().insert(RESTORED_FROM, origin);
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
