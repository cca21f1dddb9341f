//! What no single crate can show: real `holdfast` processes under faults, and acceptance on real data.
//!
//! - [`Cluster`] starts nodes as processes of their own on loopback, kills them, starts them again, and runs the
//!   command line against them. Everything is stopped when it is dropped.
//! - [`requests`] makes the requests that tests send, with fresh operation ids.
//! - [`Network`] is what nodes speak to each other through, where a test cuts, slows or breaks it.
//! - [`load`] is a crowd of buyers that remembers what was acknowledged, [`accounts`] asks for it afterwards.
//! - [`probes`] fight over little stock and look at it, [`history`] is what clients were told, [`judge`] asks whether it can be true.
//! - [`chaos`] has one fault after another happen to a cluster while a crowd buys.
//! - [`failover`] kills and pauses leaders, and says how long buyers wait.
//! - [`hostile`] has callers that send what no client should, and measures what they cost.
//! - [`scale`] has nodes come and go meanwhile, and says what buyers notice of it.
//! - [`wait_for`] waits for a condition. Tests here never wait for a time.
//! - [`orders`] finds the real order files, where they are.
//!
//! Start reading in `tests/nodes_killed.rs`: the promise of the system, tested as its user would test it.

pub mod accounts;
pub mod chaos;
mod cluster;
pub mod failover;
pub mod history;
pub mod hostile;
pub mod judge;
pub mod load;
pub mod meter;
mod network;
pub mod orders;
pub mod probes;
pub mod requests;
pub mod scale;
mod wait;

pub use cluster::{Capability, Cluster, ClusterOptions, Damage, Region, Shards, Timeouts};
pub use network::{Network, PacketLoss};
pub use wait::wait_for;
