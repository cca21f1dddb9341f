//! The archive: every change, in files of an object store. Each file is written once and never changed.
//!
//! ```text
//!   <folder or s3://bucket/prefix>/changes/shard=0003/0003-00000000000000000001-00000000000000004096.parquet
//!                                                     shard      first seq            last seq
//! ```
//!
//! The names are the index. [`Archive::files`] lists a shard's files, and proves that they follow each other
//! from change 1 on without a hole or an overlap. So it knows where to go on.
//!
//! A file holds whole entries. It appears at once or not at all, and only where no file exists. It is fine to
//! write the same changes again ([`Put::AlreadyThere`]). Other changes are an error, whoever wrote the first
//! file. The end of a file is claimed before the file is written (`claim.rs`), so several exporters of one
//! cluster do no harm.
//!
//! `changes/owner.json` names the cluster of the history (`owner.rs`). No other cluster can continue it.
//!
//! [`Writer`] cuts a stream into files. [`Archive::read`] reads a file.

mod claim;
mod error;
mod format;
mod name;
mod owner;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::TryStreamExt;
use holdfast_api::v1::Change;
use holdfast_lake::Location;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};

pub use error::ArchiveError;
pub use format::Format;
pub use name::ArchivedFile;
pub use owner::{Belongs, Span, Spans};
pub use writer::{Cut, Writer, Written};

/// The files of changes below one place of an object store.
#[derive(Debug, Clone)]
pub struct Archive {
    location: Location,
    format: Format,
}

/// The result of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// The file is new.
    Written,
    /// The same changes existed already.
    AlreadyThere,
}

impl Archive {
    /// Opens the archive at a place: a folder's path, `file:///folder`, or `s3://bucket/prefix`. A missing
    /// folder is made. Credentials, region and endpoint of S3 come from the usual `AWS_*` variables.
    ///
    /// # Errors
    /// [`ArchiveError::Location`]: the place is not understood or not usable.
    pub fn open(place: &str, format: Format) -> Result<Self, ArchiveError> {
        Ok(Self::at(Location::open(place)?, format))
    }

    /// Opens an archive like [`Archive::open`], for reading. A missing folder is an error, and is not made.
    ///
    /// # Errors
    /// The same as of [`Archive::open`].
    pub fn open_existing(place: &str, format: Format) -> Result<Self, ArchiveError> {
        Ok(Self::at(Location::open_existing(place)?, format))
    }

    /// Makes the archive below a prefix of a store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, format: Format) -> Self {
        Self::at(Location::new(store, prefix), format)
    }

    fn at(location: Location, format: Format) -> Self {
        Self { location, format }
    }

    /// Returns the format of its files.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Lists the shards that have files of this format, in order.
    ///
    /// # Errors
    /// The store fails, or there are files that are not the archive's.
    pub async fn shards(&self) -> Result<Vec<u32>, ArchiveError> {
        let files = self.list(&name::root(self.location.prefix())).await?;
        let shards: BTreeSet<u32> = files.iter().map(|file| file.shard).collect();
        Ok(shards.into_iter().collect())
    }

    /// Lists the files of a shard in order, from change 1 on. They are proven to have no hole and no overlap.
    ///
    /// # Errors
    /// The store fails, the files do not follow each other, or one is not the archive's.
    pub async fn files(&self, shard: u32) -> Result<Vec<ArchivedFile>, ArchiveError> {
        let mut files = self.list(&name::folder(self.location.prefix(), shard)).await?;
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

    /// Makes a writer that begins after the last file of a shard.
    ///
    /// # Errors
    /// The same as of [`Archive::files`].
    pub async fn writer(&self, shard: u32, cut: Cut) -> Result<Writer, ArchiveError> {
        let last = self.files(shard).await?.last().map_or(0, |file| file.last_seq);
        Ok(Writer::new(self.clone(), shard, last, cut))
    }

    /// Reads the changes of a file, and checks them against its name.
    ///
    /// # Errors
    /// The store fails, the file cannot be decoded, or its changes do not match its name.
    pub async fn read(&self, file: &ArchivedFile) -> Result<Vec<Change>, ArchiveError> {
        let path = self.path(file);
        let bytes = self.location.store().get(&path).await?.bytes().await?;
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
        if self.location.put_if_absent(&path, content.clone()).await? {
            return Ok(Put::Written);
        }
        let there = self.location.store().get(&path).await?.bytes().await?;
        // Another version of the writer may have compressed the same changes in another way.
        if there == content || self.format.decode(&path, there)? == changes {
            return Ok(Put::AlreadyThere);
        }
        Err(ArchiveError::OtherContent {
            path: path.to_string(),
        })
    }

    fn path(&self, file: &ArchivedFile) -> Path {
        file.path(self.location.prefix(), self.format)
    }

    async fn list(&self, folder: &Path) -> Result<Vec<ArchivedFile>, ArchiveError> {
        let mut files = Vec::new();
        let mut objects = self.location.store().list(Some(folder));
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

/// Returns the file for these changes. Returns None when there are no changes or they do not follow each
/// other.
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
