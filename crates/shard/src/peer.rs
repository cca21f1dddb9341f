//! What replicas of a shard say to each other: Raft messages and snapshots.

mod inbound;
mod message;
mod network;

pub(crate) use inbound::Inbound;
pub(crate) use network::{Network, NetworkOptions};
