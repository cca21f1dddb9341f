//! Tests that need more than one crate: real `holdfast` processes under faults, and acceptance on real data.
//!
//! - [`Cluster`] starts nodes as processes of their own on loopback, kills them, starts them again, and runs
//!   the command line against them. Dropping it stops everything.
//! - [`requests`] makes the requests that tests send, with fresh operation ids.
//! - [`Network`] is the network between nodes, which a test can cut, slow down or break.
//! - [`load`] is a crowd of buyers that remembers what was acknowledged, and [`accounts`] checks it
//!   afterwards.
//! - [`probes`] are clients that fight over little stock and read it, [`history`] records their answers, and
//!   [`judge`] decides whether these can be true.
//! - [`chaos`] has one fault after another happen to a cluster while a crowd buys.
//! - [`failover`] kills and pauses leaders, and measures how long buyers wait.
//! - [`hostile`] has callers that send what no client should, and measures what they cost.
//! - [`scale`] adds and removes nodes while buyers go on, and measures what these notice of it.
//! - [`wait_for`] waits for a condition. Tests here never wait for a time.
//! - [`orders`] finds the real order files, if they are there.
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
