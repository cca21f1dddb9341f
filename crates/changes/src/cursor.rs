//! Where a consumer stands in the streams, kept over restarts.
//!
//! Delivery is at least once; [`Cursors::admit`] makes it exactly once by `(shard, seq)`: what was consumed is
//! dropped, what is missing is an error, and an entry is taken whole or not at all. A consumer admits a
//! message, does its work durably, and then saves:
//!
//! ```text
//!   admit ──> the sink's own durable write ──> save      a crash before `save` repeats the write,
//!                                                         so the sink must tolerate the same (shard, seq) again
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use holdfast_api::v1::Change;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A cursor file that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// The file system.
    #[error("cursor file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The cursors stand in the history of another cluster.
    #[error(
        "cursor file {} stands in the history of cluster {owner}, this is cluster {cluster}: choose another file, or \
         delete it to start over",
        path.display()
    )]
    OtherCluster {
        /// The file.
        path: PathBuf,
        /// Whose history it is.
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
        /// Where the cursor stands.
        consumed: u64,
        /// The stream's last change.
        last_seq: u64,
    },
    /// The file is not a cursor file of this version.
    #[error("cursor file {} is not readable as cursors: {reason}; delete it to start over", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// A stream that is not the gap-free sequence of whole entries it has to be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Changes are missing.
    #[error("shard {shard}: change {expected} is missing, the stream goes on with {found}")]
    Gap {
        /// The shard.
        shard: u32,
        /// The next one needed.
        expected: u64,
        /// The one that came.
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
        /// How many the entry has.
        entry_changes: u32,
    },
    /// A change of another shard came.
    #[error("a change of shard {found} came in the stream of shard {expected}")]
    OtherShard {
        /// The shard asked for.
        expected: u32,
        /// The one that came.
        found: u32,
    },
}

/// What the file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    /// Whose history it is; version 1 did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster_id: Option<Uuid>,
    /// By shard: the last consumed sequence number.
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
    /// Cursors at the beginning, kept nowhere.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The cursors of a file in the history of this cluster; at the beginning when there is none yet.
    ///
    /// # Errors
    /// [`CursorError`]: the file cannot be read, is not a cursor file, or is one of another cluster.
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

    /// The last consumed change of a shard; 0 at the beginning.
    pub fn last_seq(&self, shard: u32) -> u64 {
        self.last_seq.get(&shard).copied().unwrap_or(0)
    }

    /// Checks that a shard's stream, which ends with `last_seq`, has what was consumed.
    ///
    /// # Errors
    /// [`CursorError::EndsBefore`].
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

    /// Says that everything up to this change was consumed.
    pub fn advance(&mut self, shard: u32, last_seq: u64) {
        self.last_seq.insert(shard, last_seq);
    }

    /// Takes a message of a shard's unfiltered stream: drops what was consumed before, and moves the cursor
    /// behind the rest, which it gives back.
    ///
    /// # Errors
    /// [`SequenceError`]: a gap, part of an entry, or another shard's change. The cursor then stays.
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

    /// Writes the file so that a crash leaves either the old or the new cursors, and syncs it.
    ///
    /// # Errors
    /// [`CursorError::Io`]; the old cursors are then still there.
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
