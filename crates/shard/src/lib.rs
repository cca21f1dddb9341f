//! One shard: an actor around one Raft group around one ledger state.

mod change_reader;
mod clock;
mod codec;
mod errors;
mod forward;
mod handle;
mod health;
mod leadership;
mod log_store;
mod metrics;
mod options;
mod peer;
mod proposer;
mod raft_types;
mod read;
mod read_gate;
mod replica;
mod route;
mod state_machine;
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

#[cfg(test)]
mod tests;
