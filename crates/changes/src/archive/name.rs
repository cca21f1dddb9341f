//! The names of archived files.

use object_store::path::Path;

use super::Format;

/// The name of one file: a shard, and the changes in the file, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchivedFile {
    /// The shard of the changes.
    pub shard: u32,
    /// Its first change.
    pub first_seq: u64,
    /// Its last change.
    pub last_seq: u64,
}

/// Returns the folder of all shards.
pub(super) fn root(prefix: &Path) -> Path {
    prefix.clone().join("changes")
}

/// Returns the folder of a shard.
pub(super) fn folder(prefix: &Path, shard: u32) -> Path {
    root(prefix).join(format!("shard={shard:04}"))
}

/// Returns the path of the claim on the end of a file, by the file's first change.
pub(super) fn claim(prefix: &Path, shard: u32, first_seq: u64, format: Format) -> Path {
    let extension = format.extension();
    folder(prefix, shard).join(format!("{shard:04}-{first_seq:020}.{extension}.claim"))
}

impl ArchivedFile {
    pub(super) fn path(&self, prefix: &Path, format: Format) -> Path {
        let Self {
            shard,
            first_seq,
            last_seq,
        } = self;
        let extension = format.extension();
        folder(prefix, *shard).join(format!("{shard:04}-{first_seq:020}-{last_seq:020}.{extension}"))
    }

    /// Parses the last part of a path. The caller checks that [`ArchivedFile::path`] returns the same path.
    pub(super) fn parse(path: &Path) -> Option<Self> {
        let (stem, _) = path.filename()?.split_once('.')?;
        let mut parts = stem.split('-');
        let shard = parts.next()?.parse().ok()?;
        let first_seq = parts.next()?.parse().ok()?;
        let last_seq = parts.next()?.parse().ok()?;
        let whole = parts.next().is_none() && 1 <= first_seq && first_seq <= last_seq && last_seq < u64::MAX;
        whole.then_some(Self {
            shard,
            first_seq,
            last_seq,
        })
    }
}
