//! One backup and its ledgers.

use bytes::Bytes;
use holdfast_lake::ReadError;
use holdfast_ledger::Ledger;

use crate::{BackupError, Backups, Manifest, ShardManifest};

/// A complete backup.
#[derive(Debug, Clone)]
pub struct Backup {
    backups: Backups,
    manifest: Manifest,
}

impl Backup {
    pub(crate) fn new(backups: Backups, manifest: Manifest) -> Self {
        Self { backups, manifest }
    }

    /// Returns the description of the backup.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads the copy of one shard: its bytes, and the ledger in them. Checks every invariant, and everything
    /// that the manifest says of it. Needs as much memory as the file has bytes, and the memory of the
    /// ledger.
    ///
    /// # Errors
    /// [`BackupError::Damaged`] when it is not what was written; [`BackupError::Read`] when the store fails.
    pub async fn ledger(&self, shard: &ShardManifest) -> Result<(Bytes, Ledger), BackupError> {
        let path = self.backups.path(&self.manifest.name, &shard.file);
        let damaged = {
            let file = path.to_string();
            move |what: String| BackupError::Damaged { file, what }
        };
        let bytes = match self.backups.location().read_small(&path, shard.bytes).await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Err(damaged("the file is missing".into())),
            Err(ReadError::Changed { what, .. }) => return Err(damaged(what)),
            Err(error) => return Err(error.into()),
        };
        let (expected, options) = (shard.clone(), self.manifest.ledger);
        let checked = tokio::task::spawn_blocking(move || {
            let ledger = check(&expected, &options, &bytes)?;
            Ok::<_, String>((bytes, ledger))
        });
        match checked.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(what)) => Err(damaged(what)),
            Err(error) => Err(BackupError::Defect(error.to_string())),
        }
    }
}

fn check(expected: &ShardManifest, options: &crate::SavedOptions, bytes: &Bytes) -> Result<Ledger, String> {
    if bytes.len() as u64 != expected.bytes {
        return Err(format!(
            "it has {} bytes, {} were written",
            bytes.len(),
            expected.bytes
        ));
    }
    if blake3::hash(bytes).as_bytes() != &expected.state_digest.0 {
        return Err("its checksum is not the one that the manifest says".to_owned());
    }
    let ledger = Ledger::decode(bytes)?;
    let said = |what: &str, found: u64, said: u64| match found == said {
        true => Ok(()),
        false => Err(format!("its {what} is {found}, the manifest says {said}")),
    };
    if ledger.digest() != expected.state_digest.0 {
        return Err("the digest of its ledger is not the one that the manifest says".to_owned());
    }
    said("last change", ledger.last_seq(), expected.last_seq)?;
    said("log time", ledger.log_time_ms(), expected.log_time_ms)?;
    if ledger.log_index().is_some_and(|last| last > expected.log_index) {
        return Err(format!(
            "its ledger ends with entry {} of the log",
            expected.log_index
        ));
    }
    if crate::SavedOptions::of(ledger.options()) != *options {
        return Err("its ledger was made with other options than the manifest says".to_owned());
    }
    Ok(ledger)
}
