//! Backups of a cluster: one file for each shard and a manifest, in an object store.
//!
//! ```text
//!   <folder or s3://bucket/prefix>/backups/<name>/0003.ledger     the ledger of shard 3, as `Ledger::encode` writes it
//!                                                 manifest.json   what all of it is, written last
//! ```
//!
//! - [`take`] makes one from a running cluster: all shards stand still together for some milliseconds, are copied in memory, go
//!   on, and are then written out.
//! - [`Place`] is where backups are: it lists them and opens one.
//! - [`Backup`] is one of them: its [`Manifest`], and its ledgers, each checked against its digest whenever it is read.
//! - [`verify`] reads all of one and says whether it can be restored.
//!
//! A digest is the BLAKE3 of a file's bytes, which is the state digest of its ledger too ([`holdfast_ledger::Ledger::digest`]): one
//! number proves that the file is whole and that a restored shard is the one that was copied. Restoring is `holdfast_node::restore`.
//! `docs/backup.md` has the guarantees and why they hold. Start reading in `take.rs`.

mod backup;
mod error;
mod manifest;
mod place;
mod take;
mod verify;

#[cfg(test)]
mod tests;

pub use backup::Backup;
pub use error::BackupError;
pub use manifest::{Digest, LedgerRules, Manifest, ShardManifest};
pub use place::{Listed, Place};
pub use take::take;
pub use verify::{VerifiedShard, verify};
