//! The archive: every change, in files of an object store, written once and never again.
//!
//! ```text
//!   <folder or s3://bucket/prefix>/changes/shard=0003/0003-00000000000000000001-00000000000000004096.parquet
//!                                                     shard      first seq            last seq
//! ```
//!
//! The names are the index: [`Archive::files`] lists a shard's files, proves that they follow each other
//! from change 1 without a hole or an overlap, and so knows where to go on. A file holds whole entries. It
//! appears at once or not at all, and only where there is none: writing it again with the same changes is
//! fine ([`Put::AlreadyThere`]), with others it is an error, whoever wrote the first one. Where a file ends is
//! claimed before it is written (`claim.rs`), so several exporters of one cluster do no harm.
//!
//! `changes/owner.json` says whose history it is (`owner.rs`): no other cluster can go on in it.
//!
//! [`Writer`] cuts a stream into files. [`Archive::read`] gives one back.

mod claim;
mod error;
mod format;
mod location;
mod name;
mod owner;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use holdfast_api::v1::Change;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

pub use error::ArchiveError;
pub use format::Format;
pub use location::{Folder, open as open_place};
pub use name::ArchivedFile;
pub use owner::{Belongs, Span, Spans};
pub use writer::{Cut, Writer, Written};

/// Files of changes below one place of an object store.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
    format: Format,
}

/// What a put did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The file is new.
    Written,
    /// The same changes were there already.
    AlreadyThere,
}

impl Archive {
    /// The archive at a place: a folder's path (made when it is not there), `file:///folder`, or
    /// `s3://bucket/prefix` with credentials, region and endpoint from the usual `AWS_*` variables.
    ///
    /// # Errors
    /// [`ArchiveError::Location`]: the place is not understood or not usable.
    pub fn open(place: &str, format: Format) -> Result<Self, ArchiveError> {
        let (store, prefix) = location::open(place, location::Folder::Make)?;
        Ok(Self::new(store, prefix, format))
    }

    /// Like [`Archive::open`], for reading: a folder that is not there is an error, and is not made.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_existing(place: &str, format: Format) -> Result<Self, ArchiveError> {
        let (store, prefix) = location::open(place, location::Folder::MustExist)?;
        Ok(Self::new(store, prefix, format))
    }

    /// The archive below a prefix of a store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, format: Format) -> Self {
        Self {
            store,
            prefix,
            format,
        }
    }

    /// The format of its files.
    pub fn format(&self) -> Format {
        self.format
    }

    /// The shards that have files of this format, in order.
    ///
    /// # Errors
    /// The store fails, or there are files that are not the archive's.
    pub async fn shards(&self) -> Result<Vec<u32>, ArchiveError> {
        let files = self.list(&name::root(&self.prefix)).await?;
        let shards: BTreeSet<u32> = files.iter().map(|file| file.shard).collect();
        Ok(shards.into_iter().collect())
    }

    /// The files of a shard in order, from change 1 on, proven to be without a hole or an overlap.
    ///
    /// # Errors
    /// The store fails, the files do not follow each other, or one is not the archive's.
    pub async fn files(&self, shard: u32) -> Result<Vec<ArchivedFile>, ArchiveError> {
        let mut files = self.list(&name::folder(&self.prefix, shard)).await?;
        files.sort_by_key(|file| (file.first_seq, file.last_seq));
        let mut expected = 1;
        for file in &files {
            if file.shard != shard {
                return Err(ArchiveError::ForeignFile {
                    path: self.path(file).to_string(),
                });
            }
            if file.first_seq != expected {
                let path = self.path(file).to_string();
                return Err(ArchiveError::NotContiguous {
                    shard,
                    expected,
                    path,
                });
            }
            expected = file.last_seq + 1;
        }
        Ok(files)
    }

    /// Starts to write behind the last file of a shard.
    ///
    /// # Errors
    /// As [`Archive::files`].
    pub async fn writer(&self, shard: u32, cut: Cut) -> Result<Writer, ArchiveError> {
        let last = self.files(shard).await?.last().map_or(0, |file| file.last_seq);
        Ok(Writer::new(self.clone(), shard, last, cut))
    }

    /// The changes of a file, checked against its name.
    ///
    /// # Errors
    /// The store fails, the file cannot be decoded, or it does not hold what its name says.
    pub async fn read(&self, file: &ArchivedFile) -> Result<Vec<Change>, ArchiveError> {
        let path = self.path(file);
        let bytes = self.store.get(&path).await?.bytes().await?;
        let changes = self.format.decode(&path, bytes)?;
        if file_of(&changes).as_ref() != Some(file) {
            return Err(ArchiveError::ForeignFile {
                path: path.to_string(),
            });
        }
        Ok(changes)
    }

    /// Writes a file of changes, which must be of one shard and follow each other.
    async fn put(&self, changes: &[Change]) -> Result<Put, ArchiveError> {
        let Some(file) = file_of(changes) else {
            return Ok(Put::AlreadyThere);
        };
        let path = self.path(&file);
        let content = self.format.encode(changes)?;
        match self
            .store
            .put_opts(&path, content.clone().into(), only_new())
            .await
        {
            Ok(_) => Ok(Put::Written),
            Err(object_store::Error::AlreadyExists { .. }) => {
                let there = self.store.get(&path).await?.bytes().await?;
                // Another version of the writer may have compressed the same changes differently.
                let same = there == content || self.format.decode(&path, there)? == changes;
                let conflict = ArchiveError::OtherContent {
                    path: path.to_string(),
                };
                if same {
                    Ok(Put::AlreadyThere)
                } else {
                    Err(conflict)
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn path(&self, file: &ArchivedFile) -> Path {
        file.path(&self.prefix, self.format)
    }

    async fn list(&self, folder: &Path) -> Result<Vec<ArchivedFile>, ArchiveError> {
        let mut files = Vec::new();
        let mut objects = self.store.list(Some(folder));
        while let Some(object) = objects.try_next().await? {
            let path = object.location;
            if path.extension() != Some(self.format.extension()) {
                continue;
            }
            let file = ArchivedFile::parse(&path).filter(|file| self.path(file) == path);
            files.push(file.ok_or_else(|| ArchiveError::ForeignFile {
                path: path.to_string(),
            })?);
        }
        Ok(files)
    }
}

/// For files that are written once.
fn only_new() -> PutOptions {
    PutOptions {
        mode: PutMode::Create,
        ..PutOptions::default()
    }
}

/// The file that these changes make; None when there are none or they do not follow each other.
fn file_of(changes: &[Change]) -> Option<ArchivedFile> {
    let (first, last) = (changes.first()?, changes.last()?);
    let follow = changes
        .windows(2)
        .all(|pair| pair[1].seq == pair[0].seq.wrapping_add(1));
    let one_shard = changes.iter().all(|change| change.shard == first.shard);
    (follow && one_shard).then_some(ArchivedFile {
        shard: first.shard,
        first_seq: first.seq,
        last_seq: last.seq,
    })
}
