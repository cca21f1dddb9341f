//! The archive: every change, in files of an object store. Each file is written once and never changed.
//!
//! ```text
//!   <folder or s3://bucket/prefix>/
//!     changes/shard=0003/day=2026-12-01/0003-<first>-<last>-<hash16>.parquet    changes, named by content
//!     manifest/shard=0003/day=2026-12-01/0003-<entry>.json                      the chained index
//!     changes/owner.json                                                        the cluster of the history
//! ```
//!
//! The manifest is the index, and it decides what counts. [`Archive::chain`] reads the entries of a shard,
//! and proves that each follows the one before. [`Archive::read`] reads the file of an entry, and proves that
//! it is what was written. So every reader notices a file that was changed, replaced or removed.
//! [`Archive::prove`] reads everything and names each fault.
//!
//! [`Writer`] cuts a stream into files. Where it cuts follows from the stream, so two exporters usually write
//! the same bytes. When they differ, the entry decides: it is written only where none exists. The slower one
//! reads the entry of the faster one, drops what that covers, and goes on. Its own file is then in no entry,
//! and nobody reads it.
//!
//! `owner.json` names the cluster of the history (`owner.rs`). No other cluster can continue it.
//! `docs/archive.md` describes the layout for readers of every kind.

mod chain;
mod content;
mod error;
mod format;
mod manifest;
mod name;
mod owner;
mod proof;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use holdfast_api::v1::Change;
use holdfast_lake::Location;
use object_store::ObjectStore;
use object_store::path::Path;

pub use holdfast_lake::whole_place;

pub use chain::Chain;
pub use error::ArchiveError;
pub use format::Format;
pub use manifest::{Head, ManifestEntry};
pub use owner::{Span, Spans, spans};
pub use proof::{Fault, Proof, ProvenShard};
pub use writer::{Cut, Writer, Written};

/// The files of changes below one place of an object store.
#[derive(Debug, Clone)]
pub struct Archive {
    location: Location,
    /// The format of new files. Files are read in the format that their name says.
    format: Format,
}

impl Archive {
    /// Opens the archive at a place for writing: a folder's path, `file:///folder`, or `s3://bucket/prefix`.
    /// A missing folder is made. Credentials, region and endpoint of S3 come from the usual `AWS_*`
    /// variables.
    ///
    /// # Errors
    /// [`ArchiveError::Location`]: the place is not understood or not usable.
    pub fn open(place: &str, format: Format) -> Result<Self, ArchiveError> {
        Ok(Self {
            location: Location::open(place)?,
            format,
        })
    }

    /// Opens an archive for reading. A missing folder is an error, and is not made.
    ///
    /// # Errors
    /// The same as of [`Archive::open`].
    pub fn open_existing(place: &str) -> Result<Self, ArchiveError> {
        Ok(Self {
            location: Location::open_existing(place)?,
            format: Format::Parquet,
        })
    }

    /// Makes the archive below a prefix of a store.
    pub fn new(store: Arc<dyn ObjectStore>, prefix: Path, format: Format) -> Self {
        Self {
            location: Location::new(store, prefix),
            format,
        }
    }

    /// Locks new files and entries for this many days from their last log time on, so that nobody can delete
    /// them before ([`Location::with_lock`]).
    ///
    /// # Errors
    /// [`ArchiveError::Location`]: the place is a folder, which has no locks.
    pub fn with_lock(self, days: u32) -> Result<Self, ArchiveError> {
        Ok(Self {
            location: self.location.with_lock(days)?,
            ..self
        })
    }

    /// Lists the shards that have manifest entries, in order.
    ///
    /// # Errors
    /// The store fails, or there are folders that are not the archive's, or files without a manifest.
    pub async fn shards(&self) -> Result<Vec<u32>, ArchiveError> {
        let shards = self.shards_of(name::MANIFEST).await?;
        if shards.is_empty() {
            for shard in self.shards_of(name::CHANGES).await? {
                self.chain(shard).await?;
            }
        }
        Ok(shards)
    }

    /// Lists the shards that have a folder below `changes` or `manifest`.
    async fn shards_of(&self, folder: &str) -> Result<Vec<u32>, ArchiveError> {
        let root = self.root(folder);
        let folders = self.location.list_folders(&root).await?;
        let shard = |name: &String| {
            name::parse_shard(name).ok_or_else(|| ArchiveError::ForeignFile {
                path: root.clone().join(name.as_str()).to_string(),
            })
        };
        let mut shards: Vec<u32> = folders.iter().map(shard).collect::<Result<_, _>>()?;
        shards.sort_unstable();
        Ok(shards)
    }

    /// Makes a writer that goes on behind the last file of a shard. Without files it begins with change 1.
    ///
    /// # Errors
    /// The store fails, the last manifest entry is damaged, or the archive has files of another format.
    pub async fn writer(&self, shard: u32, cut: Cut) -> Result<Writer, ArchiveError> {
        self.writer_from(shard, 1, cut).await
    }

    /// Makes a writer like [`Archive::writer`]. Without files it begins with this change, and the archive
    /// then says that it has none before.
    ///
    /// # Errors
    /// The same as of [`Archive::writer`].
    pub async fn writer_from(&self, shard: u32, first_seq: u64, cut: Cut) -> Result<Writer, ArchiveError> {
        let Some((entry, head)) = self.last_entry(shard).await? else {
            return Ok(Writer::new(
                self.clone(),
                shard,
                first_seq.saturating_sub(1),
                None,
                cut,
            ));
        };
        if let Some(found) = entry.format().filter(|found| *found != self.format) {
            return Err(ArchiveError::OtherFormat {
                found: found.extension(),
                wanted: self.format.extension(),
            });
        }
        Ok(Writer::new(self.clone(), shard, head.last_seq, Some(head), cut))
    }

    /// Reads the changes of an entry's file, and checks all that the entry says of them.
    ///
    /// # Errors
    /// The store fails, or the file is missing, was changed, or has other changes than its entry says.
    pub async fn read(&self, entry: &ManifestEntry) -> Result<Vec<Change>, ArchiveError> {
        let bytes = self
            .location
            .read_checked(&self.file(entry), &entry.expected())
            .await?;
        let entry = entry.clone();
        blocking(move || {
            let mut changes = Vec::new();
            content::check(&entry, bytes, |some| changes.extend(some))?;
            Ok(changes)
        })
        .await
    }

    fn location(&self) -> &Location {
        &self.location
    }

    fn root(&self, folder: &str) -> Path {
        self.location.prefix().clone().join(folder)
    }

    /// Returns the path of an entry's file in the store.
    fn file(&self, entry: &ManifestEntry) -> Path {
        self.location
            .prefix()
            .parts()
            .chain(Path::from(entry.file.as_str()).parts())
            .collect()
    }
}

/// Runs work that takes a while on a thread of its own, so that other tasks go on.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(ArchiveError::Defect(error.to_string())),
    }
}
