//! The manifest, which describes a backup.

use std::fmt;

use holdfast_ledger::LedgerOptions;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::BackupError;

/// The version of a backup's format: of the manifest and of the files beside it.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The description of a complete backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the format.
    pub format_version: u32,
    /// The id of the backup. No two backups have the same.
    pub backup_id: Uuid,
    /// Its name.
    pub name: String,
    /// When the backup was begun, by the clock of the program that took it: RFC 3339, in UTC.
    pub created_at: String,
    /// The cluster that was backed up.
    pub cluster_id: Uuid,
    /// The versions of the nodes that took part, without repetition.
    pub node_versions: Vec<String>,
    /// The number of shards of the cluster.
    pub shard_count: u32,
    /// The options with which the ledgers were made. They are part of the ledgers' state.
    pub ledger: SavedOptions,
    /// The longest time for which a shard took nothing new into its log, in microseconds.
    #[serde(alias = "held_us")]
    pub frozen_us: u64,
    /// Every shard, in order.
    pub shards: Vec<ShardManifest>,
}

/// The options that were fixed when the ledgers were made. See `[ledger]` in the configuration of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the keys of the configuration")]
pub struct SavedOptions {
    pub operation_window_ms: u64,
    pub operation_lead_ms: u64,
    pub closed_retention_ms: u64,
    pub shipped_retention_ms: u64,
    pub order_decision_ms: u64,
}

impl SavedOptions {
    pub(crate) fn of(options: &LedgerOptions) -> Self {
        Self {
            operation_window_ms: options.operation_window_ms,
            operation_lead_ms: options.operation_lead_ms,
            closed_retention_ms: options.closed_retention_ms,
            shipped_retention_ms: options.shipped_retention_ms,
            order_decision_ms: options.order_decision_ms,
        }
    }
}

/// The description of one shard's copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardManifest {
    /// The number of the shard.
    pub shard: u32,
    /// The name of the file, beside the manifest.
    pub file: String,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The BLAKE3 of its bytes, which is also that of the ledger's state.
    pub state_digest: Digest,
    /// The term of its last log entry.
    pub term: u64,
    /// The index of its last log entry.
    pub log_index: u64,
    /// Its log time, in milliseconds since the Unix epoch.
    pub log_time_ms: u64,
    /// Its last change. Consumers continue after it.
    pub last_seq: u64,
}

/// A digest of 32 bytes, written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match blake3::Hash::from_hex(&text) {
            Ok(hash) => Ok(Self(*hash.as_bytes())),
            Err(_) => Err(serde::de::Error::custom("a digest is 64 hexadecimal digits")),
        }
    }
}

/// The file: the manifest and its checksum. The ledgers cannot prove everything in the manifest.
#[derive(Serialize, Deserialize)]
struct Stored {
    manifest: Manifest,
    /// The BLAKE3 of the manifest as compact JSON.
    checksum: Digest,
}

impl Manifest {
    /// Returns the name of the file of a shard.
    pub(crate) fn file_of(shard: u32) -> String {
        format!("{shard:04}.ledger")
    }

    fn checksum(&self) -> Result<Digest, serde_json::Error> {
        Ok(Digest(*blake3::hash(&serde_json::to_vec(self)?).as_bytes()))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, BackupError> {
        let defect = |error: serde_json::Error| BackupError::Defect(error.to_string());
        let stored = Stored {
            manifest: self.clone(),
            checksum: self.checksum().map_err(defect)?,
        };
        serde_json::to_vec_pretty(&stored).map_err(defect)
    }

    pub(crate) fn decode(name: &str, file: &str, bytes: &[u8]) -> Result<Self, BackupError> {
        let damaged = |what: String| BackupError::Damaged {
            file: file.to_owned(),
            what,
        };
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
        // The version is read first, because a newer version may have other fields.
        let found = value["manifest"]["format_version"].as_u64();
        let found = found.ok_or_else(|| damaged("it has no format version".into()))?;
        if found != u64::from(FORMAT_VERSION) {
            return Err(BackupError::UnknownVersion {
                name: name.to_owned(),
                found,
                supported: FORMAT_VERSION,
            });
        }
        let stored: Stored = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
        let manifest = stored.manifest;
        let checksum = manifest.checksum().map_err(|error| damaged(error.to_string()))?;
        if checksum != stored.checksum {
            return Err(damaged("its checksum is wrong".into()));
        }
        manifest.check(name).map_err(damaged)?;
        Ok(manifest)
    }

    /// Checks that the parts fit together. Returns a description of those that do not.
    fn check(&self, name: &str) -> Result<(), String> {
        if self.name != name {
            return Err(format!("it is of the backup {}", self.name));
        }
        let numbers = self.shards.iter().map(|shard| shard.shard);
        if !numbers.eq(0..self.shard_count) {
            return Err(format!("it does not have the shards 0 to {}", self.shard_count));
        }
        match self
            .shards
            .iter()
            .find(|shard| shard.file != Self::file_of(shard.shard))
        {
            Some(shard) => Err(format!("shard {} is said to be in {}", shard.shard, shard.file)),
            None => Ok(()),
        }
    }
}
