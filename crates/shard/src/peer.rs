//! Messages between replicas: Raft messages, snapshots, and the changes before a snapshot.

#[cfg(feature = "simulation")]
mod given_vote;
mod history;
mod inbound;
mod mend;
mod message;
mod network;
#[cfg(test)]
mod recorded;

#[cfg(feature = "simulation")]
pub use given_vote::GivenVote;
pub(crate) use history::{History, Portion, read as read_changes};
pub(crate) use inbound::Inbound;
pub(crate) use mend::mend;
pub(crate) use network::{Consent, Network, NetworkOptions};

/// Runs every decoder of this module.
#[cfg(test)]
pub(crate) fn check_decoders(bytes: &[u8]) {
    use crate::codec::decode;
    let _ = decode::<message::Addressed<message::RaftRequest>>(bytes);
    let _ = decode::<message::RaftReply>(bytes);
    let _ = decode::<message::Addressed<message::SnapshotHeader>>(bytes);
    let _ = decode::<message::SnapshotReply>(bytes);
}
