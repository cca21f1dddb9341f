//! What no single crate can show: real `holdfast` processes under faults, and acceptance on real data.
//!
//! - [`Cluster`] starts three nodes as processes of their own on loopback, kills them, starts them again, and runs the
//!   command line against them. Everything is stopped when it is dropped.
//! - [`requests`] makes the requests that tests send, with fresh operation ids.
//! - [`load`] is a crowd of buyers that remembers what was acknowledged, to be asked for afterwards.
//! - [`wait_for`] waits for a condition. Tests here never wait for a time.
//! - [`orders`] finds the real order files, where they are.
//!
//! Start reading in `tests/nodes_killed.rs`: the promise of the system, tested as its user would test it.

mod cluster;
pub mod load;
pub mod orders;
pub mod requests;
mod wait;

pub use cluster::{Cluster, Shards};
pub use wait::wait_for;
