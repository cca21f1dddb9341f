//! One shard: an actor around one Raft group around one ledger state.
//!
//! A shard owns a part of the SKUs. Each node of a cluster has a replica of it; one replica leads. This crate makes a replica
//! out of a ledger ([`holdfast_ledger`]), what a node keeps on disk ([`holdfast_storage`]) and Raft (openraft), and gives
//! the node a [`ShardHandle`] that looks the same whether its replica leads or not.
//!
//! # The way of a command
//! ```text
//! ShardHandle::submit ── route ──> Proposer ──────> Raft ──────> LogStore ── one sync for all shards of the node
//!    (any replica)         │      (the actor:        │  └─ Peer ──> PeerTransport ──> Inbound ──> Raft of the others
//!                          │       many commands,    v
//!      another leads: PeerTransport::forward    StateMachine ──> Ledger ──> outcomes ──> back to each caller
//!                                                              └──────────> ChangeLog ──> ChangeReader
//! ```
//! 1. **`route`** finds the leader, here or on another node, and asks again until the caller's deadline. That is safe because a
//!    command that took effect is recognised by its operation id and answered with its first outcome. A caller whose time
//!    is up hears whether its command certainly had no effect or whether that is unknown.
//! 2. **`proposer`** is the actor. It drains everything that waits into one log entry, keeps a few entries in flight and stamps
//!    each with log time (`clock`). A command that would be refused, or was applied before, is answered from a
//!    confirmed read (`read_gate`) and costs no log write. When a hold is due and nobody writes, it proposes an empty entry.
//! 3. **`log_store`** keeps Raft's log and vote in the node's write-ahead log. An append is reported as durable in one place,
//!    right after the data sync, so nothing is acknowledged before a quorum has synced it.
//! 4. **`state_machine`** applies entries to the ledger, answers with the outcomes and writes the changes. Its folder has the
//!    snapshots: built beside the running shard, the changes synced first, and only then may the log be purged.
//! 5. **`peer`** is what replicas say to each other, several appends in flight, answers in order.
//!
//! # Rules that hold here
//! - Each replica has a thread of its own, an actix arbiter; Raft's tasks live on it. Nothing on it may block, so disk work goes
//!   through the log's writer thread or `spawn_blocking`, and the ledger's lock is an asynchronous one.
//! - Wall clock, threads and Raft's randomness are the `host`'s, so a simulation can run whole clusters on one thread.
//! - A leader stamps nothing before it knows the time from a majority of clocks (`clock`).
//! - The ledger is written by the state machine alone.
//! - A failed sync or a panic outside the ledger kills the replica: [`ShardHandle::fatal`] resolves and the node must stop, because
//!   after a failed sync nobody knows what is on disk.
//! - A violated invariant halts the replica (`halt`): a wrong ledger must not go on. Its Raft does, so that the shard can decide the
//!   entry by a rule; other shards of the node are not touched.
//! - A submission is traced when its caller is in a span with the target [`TRACE_TARGET`] (`trace`); then each stage is a span.
//! - Everything written or sent is postcard behind a version byte (`codec`).
//! - Openraft's pre-vote stays off: its default network grants every one.
//!
//! # Where to start reading
//! [`handle`](ShardHandle) for what the node sees, `proposer.rs` for what makes it fast, `route/submit.rs` for what makes it safe
//! to ask again, and `tests/` for three replicas in one process with cut wires and crashing disks.

mod adoption;
mod change_reader;
mod clock;
mod codec;
mod cut;
mod decide;
#[cfg(any(test, feature = "faults"))]
pub mod defect;
#[cfg(not(any(test, feature = "faults")))]
mod defect;
mod document;
mod election;
mod errors;
mod forward;
mod halt;
mod handle;
mod health;
mod host;
mod leadership;
pub mod limits;
mod log_store;
mod membership;
mod metrics;
mod options;
mod peer;
mod place;
mod proposer;
mod quorum_watch;
mod raft_types;
mod read;
mod read_gate;
mod replica;
mod replica_id;
mod route;
mod seed;
mod state_machine;
mod status;
mod trace;
mod transport;

pub use change_reader::{ChangeReadError, ChangeReader};
pub use cut::{CutError, ShardCut, ShardHold};
pub use document::{Document, DocumentHandle, DocumentOptions, DocumentStores, start_document};
pub use errors::{PeerMessageError, QueryError, StartError, SubmitError, TransferError};
pub use halt::{DecideError, EntryRule, Halt, HaltCause, HaltedCommand};
pub use handle::{ShardHandle, start, start_on};
#[cfg(feature = "simulation")]
pub use host::seeded;
pub use host::{EntryObserver, Host, Threads, WallClock};
pub use membership::{MembershipError, Step, Target};
pub use metrics::ShardMetrics;
pub use options::{ShardOptions, ShardStores};
#[cfg(feature = "simulation")]
pub use peer::GivenVote;
pub use read::{Answer, Freshness};
pub use replica_id::ReplicaId;
pub use seed::{Seed, SeedError, plant};
pub use status::{ReplicaStatus, Role};
pub use trace::TRACE_TARGET;
pub use transport::{DiskSpace, GoneNodes, PeerTransport, PreVoteSupport, TransportError};

#[cfg(test)]
mod tests;
