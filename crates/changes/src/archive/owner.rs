//! The cluster to which an archive belongs: exactly one. A restored cluster has an id of its own, and
//! continues a copy that was cut at the backup.

use holdfast_api::v1::ShardPosition;
use std::collections::BTreeMap;

use holdfast_lake::PutError;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Archive, ArchiveError, name};

const VERSION: u32 = 1;
/// The largest small file that is read, in bytes. The largest one that is written has the last change of each
/// shard.
const MAX_SMALL_BYTES: u64 = 64 << 10;

/// The content of the file that names the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    version: u32,
    cluster_id: Uuid,
}

/// The content of the file that marks a copy. The copy ends at a backup, and is for the cluster that is
/// restored from the backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CutAt {
    version: u32,
    /// The cluster that was backed up.
    cluster_id: Uuid,
    /// The backup's last change of each shard.
    last_seq: BTreeMap<u32, u64>,
}

fn check_version(path: &Path, version: u32) -> Result<(), ArchiveError> {
    if version == VERSION {
        return Ok(());
    }
    Err(ArchiveError::Unreadable {
        path: path.to_string(),
        reason: format!("it has version {version}, and this program reads version {VERSION}"),
    })
}

/// The beginning and end of each stream of a cluster, by shard.
pub type Spans = BTreeMap<u32, Span>;

/// The beginning and end of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first change that can be read.
    pub first_seq: u64,
    /// The last change that can be read.
    pub last_seq: u64,
}

/// Returns where each stream of a cluster begins and ends.
pub fn spans(positions: &[ShardPosition]) -> Spans {
    let span = |position: &ShardPosition| {
        let span = Span {
            first_seq: position.first_seq,
            last_seq: position.last_seq,
        };
        (position.shard, span)
    };
    positions.iter().map(span).collect()
}

impl Archive {
    /// Returns the cluster whose history the archive holds; None when it does not name one.
    ///
    /// # Errors
    /// The store fails, or the file with the name is damaged.
    pub async fn owner(&self) -> Result<Option<Uuid>, ArchiveError> {
        let path = self.owner_path();
        let owner: Option<Owner> = self.small(&path).await?;
        let Some(owner) = owner else { return Ok(None) };
        check_version(&path, owner.version)?;
        Ok(Some(owner.cluster_id))
    }

    /// Returns whether the archive says whose history it has. A copy for a restored cluster names the cluster
    /// that was backed up.
    pub(super) async fn names_its_cluster(&self) -> Result<bool, ArchiveError> {
        Ok(self.owner().await?.is_some() || self.cut().await?.is_some())
    }

    /// Refuses an archive of another cluster. An archive that does not name its cluster passes.
    ///
    /// # Errors
    /// [`ArchiveError::OtherCluster`], or [`ArchiveError::CutForRestored`]. Or the store fails, or the file
    /// with the name is damaged.
    pub async fn check_owner(&self, cluster_id: Uuid) -> Result<(), ArchiveError> {
        match self.owner().await? {
            Some(owner) if owner != cluster_id => Err(ArchiveError::OtherCluster {
                owner,
                cluster: cluster_id,
            }),
            Some(_) => Ok(()),
            None => match self.cut().await? {
                // The cluster that was backed up has its own history after the backup.
                Some(cut) if cut.cluster_id == cluster_id => {
                    Err(ArchiveError::CutForRestored { cluster: cluster_id })
                }
                _ => Ok(()),
            },
        }
    }

    /// Gives an empty archive to this cluster. Refuses an archive that this cluster cannot continue.
    ///
    /// # Errors
    /// [`ArchiveError::OtherCluster`] and similar errors, or [`ArchiveError::EndsBefore`] when the cluster's
    /// stream ends before the archive. Or the store fails.
    pub async fn belong_to(&self, cluster_id: Uuid, spans: &Spans) -> Result<(), ArchiveError> {
        self.check_owner(cluster_id).await?;
        let mut has_files = false;
        for (shard, span) in spans {
            let archived = self
                .last_entry(*shard)
                .await?
                .map_or(0, |(entry, _)| entry.last_seq);
            has_files |= archived > 0;
            if archived > span.last_seq {
                return Err(ArchiveError::EndsBefore {
                    shard: *shard,
                    archived,
                    last_seq: span.last_seq,
                });
            }
        }
        if self.owner().await?.is_some() {
            return Ok(());
        }
        match self.cut().await? {
            Some(cut) => {
                for (shard, last_seq) in &cut.last_seq {
                    let begins = spans.get(shard).map(|span| span.first_seq);
                    if begins.is_some_and(|first_seq| first_seq != last_seq + 1) {
                        return Err(ArchiveError::NotRestoredFrom {
                            cluster: cluster_id,
                            backed_up: cut.cluster_id,
                            shard: *shard,
                            last_seq: *last_seq,
                        });
                    }
                }
            }
            None if has_files => return Err(ArchiveError::NoOwner),
            None => {}
        }
        self.adopt(cluster_id).await
    }

    /// Records that the archive holds this cluster's history. Another cluster may have been faster.
    pub(super) async fn adopt(&self, cluster_id: Uuid) -> Result<(), ArchiveError> {
        let owner = Owner {
            version: VERSION,
            cluster_id,
        };
        if self.put_small(&self.owner_path(), &owner).await? {
            return Ok(());
        }
        self.check_owner(cluster_id).await
    }

    /// Records that this is the copy of an archive up to a backup of this cluster.
    ///
    /// # Errors
    /// [`ArchiveError::OtherCut`]: it is the copy for another backup. Or the store fails.
    pub async fn mark_cut(&self, cluster_id: Uuid, last_seq: BTreeMap<u32, u64>) -> Result<(), ArchiveError> {
        let cut = CutAt {
            version: VERSION,
            cluster_id,
            last_seq,
        };
        if self.put_small(&self.cut_path(), &cut).await? || self.cut().await?.as_ref() == Some(&cut) {
            return Ok(());
        }
        Err(ArchiveError::OtherCut)
    }

    async fn cut(&self) -> Result<Option<CutAt>, ArchiveError> {
        let path = self.cut_path();
        let cut: Option<CutAt> = self.small(&path).await?;
        if let Some(cut) = &cut {
            check_version(&path, cut.version)?;
        }
        Ok(cut)
    }

    fn owner_path(&self) -> Path {
        self.root(name::CHANGES).join("owner.json")
    }

    fn cut_path(&self) -> Path {
        self.root(name::CHANGES).join("cut.json")
    }

    /// Reads a small file of JSON; None when it does not exist.
    async fn small<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, ArchiveError> {
        let Some(bytes) = self.location().read_small(path, MAX_SMALL_BYTES).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes);
        read.map(Some).map_err(|error| ArchiveError::Unreadable {
            path: path.to_string(),
            reason: error.to_string(),
        })
    }

    /// Writes a small file of JSON if it does not exist. Returns false when it exists with other content.
    async fn put_small(&self, path: &Path, content: &impl Serialize) -> Result<bool, ArchiveError> {
        let bytes = serde_json::to_vec(content).map_err(|error| ArchiveError::Defect(error.to_string()))?;
        // It is of no moment of the log from which a lock could count, so it is not locked.
        match self.location().put_once(path, bytes.into(), 0).await {
            Ok(_) => Ok(true),
            Err(PutError::OtherContent { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
