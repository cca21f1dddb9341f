//! What replicas of a shard say to each other: Raft messages and snapshots.

mod inbound;
mod message;
mod network;

pub(crate) use inbound::Inbound;
pub(crate) use network::{Network, NetworkOptions};

/// Runs every decoder of this module.
#[cfg(test)]
pub(crate) fn check_decoders(bytes: &[u8]) {
    use crate::codec::decode;
    let _ = decode::<message::RaftRequest>(bytes);
    let _ = decode::<message::RaftReply>(bytes);
    let _ = decode::<message::SnapshotHeader>(bytes);
    let _ = decode::<message::SnapshotReply>(bytes);
}
