//! Backups of a cluster: one file for each shard and a manifest, in an object store.
//!
//! ```text
//!   <folder or s3://bucket/prefix>/backups/<name>/0003.ledger     the ledger of shard 3, by `Ledger::encode`
//!                                                 manifest.json   describes all of it, written last
//! ```
//!
//! - [`take()`] makes one from a running cluster. All shards stand still together for some milliseconds, are
//!   copied in memory, and go on. Then the copies are written.
//! - [`Backups`] are the backups at one location. It lists them and opens one.
//! - [`Backup`] is one of them, with its [`Manifest`] and its ledgers. Each ledger is checked against its
//!   digest whenever it is read.
//! - [`verify()`] reads a whole backup and decides whether it can be restored.
//!
//! A digest is the BLAKE3 of a file's bytes, which is also the state digest of its ledger
//! ([`holdfast_ledger::Ledger::digest`]). So one number proves that the file is complete, and that a restored
//! shard is the one that was copied. `holdfast_node::restore` restores a backup. `docs/backup.md` has the
//! guarantees and the reasons for them. Start reading in `take.rs`.

mod backup;
mod backups;
mod error;
mod manifest;
mod take;
mod verify;

#[cfg(test)]
mod tests;

pub use backup::Backup;
pub use backups::{Backups, Listed};
pub use error::BackupError;
pub use manifest::{Digest, Manifest, SavedOptions, ShardManifest};
pub use take::take;
pub use verify::{VerifiedShard, verify};
