//! The record of the backup that a data folder was restored from.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::RestoreError;

/// The version of the record's format.
const FORMAT_VERSION: u32 = 1;

/// The backup that the shards of a node begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The id of the backup; no two backups have the same.
    pub backup_id: Uuid,
    /// The name of the backup, for people.
    pub backup: String,
    /// The cluster that the backup is of.
    pub cluster_id: Uuid,
    /// Every shard, in order.
    pub shards: Vec<RestoredShard>,
}

/// The ledger that a shard begins with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredShard {
    /// The number of the shard.
    pub shard: u32,
    /// Index of the last log entry in the ledger. The log goes on behind it.
    pub log_index: u64,
    /// Number of the last change in the ledger. The changes go on behind it.
    pub last_seq: u64,
    /// The BLAKE3 digest of the ledger.
    pub state_digest: [u8; 32],
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    format_version: u32,
    backup_id: Uuid,
    backup: String,
    cluster_id: Uuid,
    shards: Vec<StoredShard>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredShard {
    shard: u32,
    log_index: u64,
    last_seq: u64,
    state_digest: String,
}

impl Restored {
    pub(super) fn shard(&self, shard: u32) -> Option<&RestoredShard> {
        self.shards.iter().find(|known| known.shard == shard)
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let shard = |known: &RestoredShard| StoredShard {
            shard: known.shard,
            log_index: known.log_index,
            last_seq: known.last_seq,
            state_digest: hex(&known.state_digest),
        };
        serde_json::to_vec_pretty(&Stored {
            format_version: FORMAT_VERSION,
            backup_id: self.backup_id,
            backup: self.backup.clone(),
            cluster_id: self.cluster_id,
            shards: self.shards.iter().map(shard).collect(),
        })
    }

    pub(super) fn decode(bytes: &[u8], path: &Path) -> Result<Self, RestoreError> {
        let damaged = |what: String| RestoreError::Damaged {
            path: path.to_owned(),
            what,
        };
        let stored: Stored = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        if stored.format_version != FORMAT_VERSION {
            return Err(damaged(format!(
                "it has format version {}, and this program reads version {FORMAT_VERSION}",
                stored.format_version
            )));
        }
        let shard = |known: StoredShard| {
            Some(RestoredShard {
                shard: known.shard,
                log_index: known.log_index,
                last_seq: known.last_seq,
                state_digest: unhex(&known.state_digest)?,
            })
        };
        let shards: Option<Vec<RestoredShard>> = stored.shards.into_iter().map(shard).collect();
        Ok(Self {
            backup_id: stored.backup_id,
            backup: stored.backup,
            cluster_id: stored.cluster_id,
            shards: shards.ok_or_else(|| damaged("a digest is not 64 hexadecimal digits".into()))?,
        })
    }
}

pub(super) fn hex(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut digest = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(digest)
}
