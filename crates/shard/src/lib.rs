//! One shard: an actor around one Raft group around one ledger state.

mod change_reader;
mod errors;
mod handle;
mod metrics;
mod options;
mod read;
mod status;
mod transport;

pub use change_reader::{ChangeReadError, ChangeReader};
pub use errors::{PeerMessageError, QueryError, StartError, SubmitError, TransferError};
pub use handle::{ShardHandle, start};
pub use metrics::ShardMetrics;
pub use options::{ShardOptions, ShardStores};
pub use read::{Answer, Freshness};
pub use status::{ReplicaStatus, Role};
pub use transport::{PeerTransport, TransportError};
