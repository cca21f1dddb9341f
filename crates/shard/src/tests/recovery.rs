//! Coming back: from disk, from a snapshot, from peers.
