//! One shard: an actor around one Raft group around one ledger state.
