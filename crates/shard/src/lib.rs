//! One shard: an actor that drives one Raft group, which replicates one ledger.
//!
//! A shard owns a part of the SKUs. Some nodes of a cluster, or all, have a replica of the shard, and one
//! replica leads.
//!
//! This crate makes a replica from three things: a ledger ([`holdfast_ledger`]), the files on a node's disk
//! ([`holdfast_storage`]) and Raft (openraft). The node gets a [`ShardHandle`], which works the same whether
//! its replica leads or not.
//!
//! # The way of a command
//! ```text
//! ShardHandle::submit ── route ──> Proposer ──────> Raft ──> LogStore ── one sync for all shards of a node
//!    (any replica)         │      (the actor:        │  └─ Peer ─> PeerTransport ─> Inbound ─> other Rafts
//!                          │       many commands,    v
//!      another leads: PeerTransport::forward    StateMachine ──> Ledger ──> outcomes ──> back to each caller
//!                                                              └──────────> ChangeLog ──> ChangeReader
//! ```
//! 1. **`route`** finds the leader, on this node or on another, and asks again until the caller's deadline.
//!    Asking again is safe: a command that took effect is recognised by its operation id and answered with
//!    its first outcome. When the time is up, the caller learns that its command certainly had no effect, or
//!    that this is unknown.
//! 2. **`proposer`** is the actor. It puts all waiting commands into one log entry, keeps a few entries in
//!    flight and stamps each with log time (`clock`). A command that would be refused, or that was applied
//!    before, is answered from a confirmed read (`read_gate`) and costs no log write. When a hold is due and
//!    nobody writes, the actor proposes an empty entry.
//! 3. **`log_store`** keeps Raft's log and vote in the node's write-ahead log. An append is reported as
//!    durable in one place only, right after the data sync. So nothing is acknowledged before a quorum has
//!    synced it.
//! 4. **`state_machine`** applies entries to the ledger, answers with the outcomes and writes the changes.
//!    Its folder also holds the snapshots. A snapshot is built while the shard runs. The changes are synced
//!    before it, and the log may be purged only after it. `consumers` drops old changes that every required
//!    consumer has passed.
//! 5. **`peer`** carries the messages between replicas. Several appends are in flight at once, and answers
//!    keep their order.
//!
//! # Rules of this crate
//! - Each replica has its own thread, an actix arbiter, and Raft's tasks run on it. Nothing on this thread
//!   may block: disk work goes through the log's writer thread or `spawn_blocking`, and the ledger's lock is
//!   asynchronous.
//! - The wall clock, the threads and Raft's random numbers come from the `host`, so a simulation can run
//!   whole clusters on one thread.
//! - A leader stamps no entry before it knows the time from a majority of clocks (`clock`).
//! - Only the state machine writes the ledger.
//! - A failed sync or a panic outside the ledger kills the replica: [`ShardHandle::fatal`] resolves and the
//!   node must stop, because after a failed sync nobody knows what is on disk.
//! - A violated invariant halts the replica (`halt`), because a wrong ledger must not go on. Its Raft goes
//!   on, so that the shard can decide the entry by a rule. Other shards of the node are not affected.
//! - A submission is traced when its caller is in a span with the target [`TRACE_TARGET`] (`trace`). Then
//!   each stage is a span.
//! - Everything written or sent is postcard behind a version byte (`codec`).
//! - Replicas answer a pre-vote by their own rule (`election`), because openraft's default network grants
//!   every pre-vote.
//!
//! # Where to start reading
//! Read [`handle`](ShardHandle) for the node's view of a shard, `proposer.rs` for what makes it fast, and
//! `route/submit.rs` for what makes it safe to ask again. The tests in `tests/` run three replicas in one
//! process, with cut wires and crashing disks.

mod adoption;
mod change_reader;
mod clock;
mod codec;
mod consumers;
mod cut;
mod decide;
#[cfg(any(test, feature = "faults"))]
pub mod defect;
#[cfg(not(any(test, feature = "faults")))]
mod defect;
mod election;
mod errors;
mod forward;
mod halt;
mod handle;
mod health;
mod host;
mod leadership;
pub mod limits;
mod local_shard;
mod log_store;
mod membership;
mod metrics;
mod options;
mod peer;
mod proposer;
mod quorum_watch;
mod raft_types;
mod read;
mod read_gate;
mod register;
mod replica;
mod replica_id;
mod route;
mod seed;
mod state_machine;
mod status;
mod trace;
mod transport;

pub use change_reader::{ChangeReadError, ChangeReader};
pub use clock::WallClock;
pub use consumers::ConsumerStatus;
pub use cut::{CutError, ShardCut, ShardFreeze};
pub use errors::{PeerMessageError, QueryError, StartError, SubmitError, TransferError};
pub use halt::{DecideError, EntryRule, Halt, HaltCause, HaltedCommand};
pub use handle::{ShardHandle, start, start_on};
pub use host::{EntryObserver, Host, Threads};
pub use membership::{MembershipError, Step, Target};
pub use metrics::ShardMetrics;
pub use options::{ShardOptions, ShardStores};
#[cfg(feature = "simulation")]
pub use peer::GivenVote;
#[cfg(feature = "simulation")]
pub use raft_types::seeded;
pub use read::{Answer, Freshness};
pub use register::{Register, RegisterHandle, RegisterOptions, RegisterStores, start_register};
pub use replica_id::ReplicaId;
pub use seed::{Seed, SeedError, plant};
pub use status::{ReplicaStatus, Role};
pub use trace::TRACE_TARGET;
pub use transport::{DiskSpace, GoneNodes, PeerTransport, PreVoteSupport, TransportError};

#[cfg(test)]
mod tests;
