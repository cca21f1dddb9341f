//! Whole clusters in one thread: one seed, one run, the same every time.
//!
//! The shards are the real ones: actor, Raft, write-ahead log, snapshots, change log and ledger; so is what a node does for orders
//! over several of them. What they stand on is
//! simulated: the network ([`network`]), disks that lose what was not synced, the clocks, and time itself, which passes
//! in steps of a millisecond. A node is a runtime of its own, so a crash is dropping it. gRPC and HTTP are not here: what a
//! node's services would be asked travels as [`requests`].
//!
//! ```text
//!  seed ─> Plan ─┬─> Faults ──> machines, disks, clocks, network
//!                ├─> Clients ──> requests ──> nodes ──> answers ──> History ─┐
//!                └─> Network                    └──> entries, changes ──> Record ─┴─> check
//! ```
//!
//! # Where to start reading
//! `run.rs` for a run from beginning to end, `faults.rs` for what goes wrong, and `check.rs` for what must hold nevertheless.
//!
//! # What makes it the same every time
//! One thread; each runtime's time is paused and its choices are seeded (that needs `--cfg tokio_unstable`); Raft's randomness is
//! seeded (the feature `simulation` of the shard); disks are synced where the simulation says so; and whatever is
//! iterated is ordered. [`trace`] proves it.

pub mod check;
pub mod client;
pub mod directory;
pub mod faults;
pub mod history;
pub mod network;
pub mod node;
pub mod plan;
pub mod record;
pub mod requests;
pub mod run;
pub mod tail;
pub mod time;
pub mod trace;
pub mod workload;
