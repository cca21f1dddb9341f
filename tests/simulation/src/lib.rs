//! Whole clusters in one thread. One seed is one run, and the run is the same every time.
//!
//! The shards are the real ones: actor, Raft, write-ahead log, snapshots, change log and ledger. So is the
//! code with which a node handles orders over several shards. Everything below them is simulated: the network
//! ([`network`]), disks that lose what was not synced, the clocks, and time itself, which passes in steps of
//! a millisecond. A node is a runtime of its own, so a crash drops the runtime. There is no gRPC and no HTTP:
//! the requests to a node's services are sent as [`requests`].
//!
//! ```text
//!  seed ─> Plan ─┬─> Faults ──> machines, disks, clocks, network
//!                ├─> Clients ──> requests ──> nodes ──> answers ──> History ─┐
//!                └─> Network                    └──> entries, changes ──> Record ─┴─> check
//! ```
//!
//! # Where to start reading
//! `run.rs` for a run from beginning to end, `faults.rs` for what goes wrong, and `check.rs` for what must
//! hold nevertheless.
//!
//! # Why a run is the same every time
//! There is one thread. Each runtime's time is paused and its choices are seeded (that needs `--cfg
//! tokio_unstable`). Raft's randomness is seeded (the feature `simulation` of the shard). Disks are synced
//! where the simulation says so. Every iteration has a fixed order. [`trace`] proves it.

pub mod check;
pub mod client;
pub mod directory;
pub mod faults;
pub mod history;
pub mod names;
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
