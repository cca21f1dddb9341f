//! The position of a consumer in the streams, kept over restarts.
//!
//! Delivery is at least once. [`Cursors::admit`] makes it exactly once by `(shard, seq)`: consumed changes
//! are dropped, a missing change is an error, and an entry is taken whole or not at all. A consumer admits a
//! message, does its work durably, and then saves:
//!
//! ```text
//!   admit ──> the sink's own durable write ──> save   a crash before `save` repeats the write,
//!                                                      so the sink must tolerate the same (shard, seq) again
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use holdfast_api::v1::Change;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A cursor file cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file system failed.
    #[error("cursor file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The cursors belong to the history of another cluster.
    #[error(
        "cursor file {} stands in the history of cluster {owner}, this is cluster {cluster}: choose another file, or \
         delete it to start over",
        path.display()
    )]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// The cluster of the cursors.
        owner: Uuid,
        /// The cluster that was asked.
        cluster: Uuid,
    },
    /// The stream ends before the cursor.
    #[error(
        "cursor file {} stands at change {consumed} of shard {shard}, the stream ends with {last_seq}: the cluster has \
         lost changes, or the file is of another one",
        path.display()
    )]
    EndsBefore {
        /// The file.
        path: PathBuf,
        /// The shard.
        shard: u32,
        /// The change at which the cursor stands.
        consumed: u64,
        /// The stream's last change.
        last_seq: u64,
    },
    /// The file is not a cursor file of this version.
    #[error("the cursor file {} cannot be read: {reason}; delete it to begin again from the first change", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The fault, in words.
        reason: String,
    },
}

/// A stream is not a gap-free sequence of whole entries.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Changes are missing.
    #[error("shard {shard}: change {expected} is missing, and the stream goes on with {found}")]
    Gap {
        /// The shard.
        shard: u32,
        /// The next change needed.
        expected: u64,
        /// The change that came.
        found: u64,
    },
    /// An entry came in part.
    #[error("shard {shard}: change {seq} breaks its entry (number {offset} of {entry_changes})")]
    SplitEntry {
        /// The shard.
        shard: u32,
        /// The change.
        seq: u64,
        /// Its place in the entry.
        offset: u32,
        /// The number of changes of the entry.
        entry_changes: u32,
    },
    /// A change of another shard came.
    #[error("a change of shard {found} came in the stream of shard {expected}")]
    OtherShard {
        /// The shard asked for.
        expected: u32,
        /// The shard of the change that came.
        found: u32,
    },
}

/// The content of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    /// The cluster of the cursors. Version 1 of the file does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<Uuid>,
    /// The last consumed sequence number of each shard.
    last_seq: BTreeMap<u32, u64>,
}

const VERSION: u32 = 2;

/// The last consumed change of each shard.
#[derive(Debug, Default)]
pub struct Cursors {
    path: Option<PathBuf>,
    cluster_id: Option<Uuid>,
    last_seq: BTreeMap<u32, u64>,
}

impl Cursors {
    /// Makes cursors at the beginning that are not saved anywhere.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// Opens the cursors of a file in the history of this cluster. They are at the beginning when there is no
    /// file.
    ///
    /// # Errors
    /// [`CursorError`]: the file cannot be read, is not a cursor file, or belongs to another cluster.
    pub fn open(path: impl Into<PathBuf>, cluster_id: Uuid) -> Result<Self, CursorError> {
        let path = path.into();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self {
                    path: Some(path),
                    cluster_id: Some(cluster_id),
                    last_seq: BTreeMap::new(),
                });
            }
            Err(source) => return Err(CursorError::Io { path, source }),
        };
        match serde_json::from_slice::<Saved>(&text) {
            Ok(saved)
                if (saved.version, saved.cluster_id.is_some()) == (VERSION, true) || saved.version == 1 =>
            {
                match saved.cluster_id {
                    Some(owner) if owner != cluster_id => Err(CursorError::OtherCluster {
                        path,
                        owner,
                        cluster: cluster_id,
                    }),
                    _ => Ok(Self {
                        path: Some(path),
                        cluster_id: Some(cluster_id),
                        last_seq: saved.last_seq,
                    }),
                }
            }
            Ok(saved) => {
                let reason = format!(
                    "it has version {}, or names no cluster; this program reads up to version {VERSION}",
                    saved.version
                );
                Err(CursorError::Unreadable { path, reason })
            }
            Err(error) => Err(CursorError::Unreadable {
                path,
                reason: error.to_string(),
            }),
        }
    }

    /// Returns the last consumed change of a shard; 0 at the beginning.
    pub fn last_seq(&self, shard: u32) -> u64 {
        self.last_seq.get(&shard).copied().unwrap_or(0)
    }

    /// Checks that a shard's stream, which ends with `last_seq`, includes all consumed changes.
    ///
    /// # Errors
    /// [`CursorError::EndsBefore`] when it does not.
    pub fn check(&self, shard: u32, last_seq: u64) -> Result<(), CursorError> {
        let consumed = self.last_seq(shard);
        if consumed <= last_seq {
            return Ok(());
        }
        Err(CursorError::EndsBefore {
            path: self.path.clone().unwrap_or_default(),
            shard,
            consumed,
            last_seq,
        })
    }

    /// Notes that everything up to this change was consumed.
    pub fn advance(&mut self, shard: u32, last_seq: u64) {
        self.last_seq.insert(shard, last_seq);
    }

    /// Takes a message of a shard's unfiltered stream. Drops the changes that were consumed before, moves the
    /// cursor behind the others, and returns those.
    ///
    /// # Errors
    /// [`SequenceError`]: a gap, part of an entry, or another shard's change. The cursor then does not move.
    pub fn admit(&mut self, shard: u32, mut changes: Vec<Change>) -> Result<Vec<Change>, SequenceError> {
        let consumed = self.last_seq(shard);
        let mut newest = consumed;
        changes.retain(|change| {
            let new = change.shard != shard || change.seq > newest;
            newest = newest.max(change.seq);
            new
        });
        let mut last = consumed;
        let mut entry: Option<(u32, u32, u64)> = None;
        for change in &changes {
            if change.shard != shard {
                return Err(SequenceError::OtherShard {
                    expected: shard,
                    found: change.shard,
                });
            }
            if change.seq != last + 1 {
                return Err(SequenceError::Gap {
                    shard,
                    expected: last + 1,
                    found: change.seq,
                });
            }
            let begins = entry.is_none() && change.entry_offset == 0;
            let goes_on = entry == Some((change.entry_offset, change.entry_changes, change.log_index));
            if !(begins || goes_on) || change.entry_offset >= change.entry_changes {
                return Err(split(shard, change));
            }
            last = change.seq;
            let following = change.entry_offset + 1;
            entry = (following < change.entry_changes).then_some((
                following,
                change.entry_changes,
                change.log_index,
            ));
        }
        if let (Some(_), Some(change)) = (entry, changes.last()) {
            return Err(split(shard, change));
        }
        self.advance(shard, last);
        Ok(changes)
    }

    /// Writes the file and syncs it. After a crash the file has either the old or the new cursors.
    ///
    /// # Errors
    /// [`CursorError::Io`]; the file then still has the old cursors.
    pub fn save(&self) -> Result<(), CursorError> {
        let Some(path) = &self.path else { return Ok(()) };
        let saved = Saved {
            version: VERSION,
            cluster_id: self.cluster_id,
            last_seq: self.last_seq.clone(),
        };
        replace(path, &saved).map_err(|source| CursorError::Io {
            path: path.clone(),
            source,
        })
    }
}

fn split(shard: u32, change: &Change) -> SequenceError {
    let (seq, offset, entry_changes) = (change.seq, change.entry_offset, change.entry_changes);
    SequenceError::SplitEntry {
        shard,
        seq,
        offset,
        entry_changes,
    }
}

fn replace(path: &Path, saved: &Saved) -> std::io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let mut file = File::create(&beside)?;
    file.write_all(&serde_json::to_vec(saved)?)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
