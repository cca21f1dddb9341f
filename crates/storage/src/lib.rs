//! What is on disk: write-ahead log, snapshots, change log.
