//! A data folder that begins with the ledgers of a backup.
//!
//! ```text
//!  <data_dir>/restore/
//!    0003.ledger      the ledger of shard 3; gone once the node has taken it over
//!    restored.json    what it was restored from, written last; stays
//! ```
//!
//! [`Restore`] writes this folder on every node of the new cluster, before the node's first start. When the
//! cluster is founded, each node takes the ledgers of its shards into its stores and removes the files. A
//! node founds a cluster only with nodes that were restored from the same backup: replicas of one group that
//! begin differently would differ for ever. A node that joins later needs no restore.

mod error;
mod record;
mod write;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub use error::RestoreError;
use holdfast_shard::{Seed, SeedError, ShardStores};
pub use record::{Restored, RestoredShard};
pub use write::Restore;

/// The folder inside the data folder.
const FOLDER: &str = "restore";
/// The file that says what the folder was restored from.
const RECORD: &str = "restored.json";

fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

fn ledger_file(data_dir: &Path, shard: u32) -> PathBuf {
    folder(data_dir).join(format!("{shard:04}.ledger"))
}

/// Returns the record of the data folder's restore, if there was one.
///
/// # Errors
/// The restore was not finished, or its record is damaged or cannot be read.
fn read_record(data_dir: &Path) -> Result<Option<Restored>, RestoreError> {
    if !folder(data_dir).exists() {
        return Ok(None);
    }
    let path = folder(data_dir).join(RECORD);
    match fs::read(&path) {
        Ok(bytes) => Restored::decode(&bytes, &path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(RestoreError::Unfinished {
            data_dir: data_dir.to_owned(),
        }),
        Err(source) => Err(RestoreError::Io { path, source }),
    }
}

/// Returns the record of the data folder's restore, if there was one, checked against the configuration.
///
/// # Errors
/// [`RestoreError`]: the node must not start.
pub(crate) fn restored(data_dir: &Path, shard_count: u32) -> Result<Option<Restored>, RestoreError> {
    let Some(restored) = read_record(data_dir)? else {
        return Ok(None);
    };
    if restored.shards.len() != shard_count as usize {
        return Err(RestoreError::ShardCount {
            backup: restored.shards.len(),
            configured: shard_count as usize,
        });
    }
    Ok(Some(restored))
}

/// Takes over the ledger that a restore left for a shard, into the stores of a replica that founds its group.
/// Call it before the replica starts. If a crash interrupts it, the next start repeats it.
///
/// # Errors
/// [`RestoreError`]: the replica must not start.
pub(crate) fn take_over(
    data_dir: &Path,
    restored: &Restored,
    shard: u32,
    stores: &ShardStores,
    founders: &BTreeSet<u64>,
) -> Result<(), RestoreError> {
    let begins = restored
        .shard(shard)
        .ok_or(RestoreError::MissingShard { shard })?;
    take_over_shard(data_dir, stores, founders, begins)
}

fn take_over_shard(
    data_dir: &Path,
    stores: &ShardStores,
    founders: &BTreeSet<u64>,
    begins: &RestoredShard,
) -> Result<(), RestoreError> {
    let shard = begins.shard;
    let path = ledger_file(data_dir, shard);
    let ledger = match fs::read(&path) {
        Ok(ledger) => ledger,
        // It was taken over at an earlier start.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !stores.snapshots.list().is_empty() => {
            return Ok(());
        }
        Err(source) => return Err(RestoreError::Io { path, source }),
    };
    let seed = Seed {
        ledger: &ledger,
        log_index: begins.log_index,
        state_digest: begins.state_digest,
    };
    match holdfast_shard::plant(shard, stores, founders, seed) {
        Ok(()) => tracing::info!(
            shard,
            log_index = begins.log_index,
            last_seq = begins.last_seq,
            state_digest = record::hex(&begins.state_digest),
            "the shard begins with a restored ledger"
        ),
        // A crash came before the file was removed.
        Err(SeedError::NotEmpty { .. }) if !stores.snapshots.list().is_empty() => {}
        Err(error) => return Err(error.into()),
    }
    fs::remove_file(&path).map_err(|source| RestoreError::Io { path, source })
}
