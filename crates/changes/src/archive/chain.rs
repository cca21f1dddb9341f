//! Reads the manifest of a shard, entry by entry, and proves that each follows the one before.

use std::vec::IntoIter;

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::path::Path;

use super::manifest::{Head, MAX_ENTRY_BYTES, ManifestEntry};
use super::name::{self, Day};
use super::{Archive, ArchiveError};

/// The most files of one shard and day. It bounds the memory of a listing.
pub(super) const MAX_FILES_A_DAY: usize = 200_000;
/// How many entries are read at the same time. An object store answers one after some milliseconds.
const READ_AHEAD: usize = 16;

/// The manifest entries of a shard, from the first one on.
pub struct Chain {
    archive: Archive,
    shard: u32,
    days: IntoIter<Day>,
    /// The entries of the present day.
    entries: BoxStream<'static, Result<(Day, u64, Bytes), ArchiveError>>,
    head: Option<Head>,
}

impl Chain {
    /// Returns the next entry, or None after the last one. It is proven to follow the one before.
    ///
    /// # Errors
    /// The store fails, an entry is damaged or missing, or it does not follow the one before.
    pub async fn next(&mut self) -> Result<Option<ManifestEntry>, ArchiveError> {
        loop {
            if let Some((day, number, bytes)) = self.entries.try_next().await? {
                let entry = self.archive.decode_entry(self.shard, day, number, &bytes)?;
                Head::check_next(self.head.as_ref(), &entry)
                    .map_err(|what| self.archive.bad_entry(self.shard, day, number, what))?;
                self.head = Some(Head::of(&entry, &bytes));
                return Ok(Some(entry));
            }
            let Some(day) = self.days.next() else {
                return Ok(None);
            };
            self.entries = self.archive.clone().entries_of(self.shard, day).await?;
        }
    }

    /// Returns the last entry that was read.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }
}

impl Archive {
    /// Begins to read the manifest of a shard. Without files it has no entries.
    ///
    /// # Errors
    /// The store fails, or the shard has files without a manifest.
    pub async fn chain(&self, shard: u32) -> Result<Chain, ArchiveError> {
        let days = self.days(shard).await?;
        if days.is_empty() {
            self.refuse_old_layout(shard).await?;
        }
        Ok(Chain {
            archive: self.clone(),
            shard,
            days: days.into_iter(),
            entries: futures::stream::empty().boxed(),
            head: None,
        })
    }

    /// Reads the last entry of a shard's manifest. Returns None for a shard without files.
    ///
    /// # Errors
    /// The store fails, the entry is damaged, or the shard has files without a manifest.
    pub async fn last_entry(&self, shard: u32) -> Result<Option<(ManifestEntry, Head)>, ArchiveError> {
        for day in self.days(shard).await?.into_iter().rev() {
            // A day's folder in a file system may be empty.
            let Some(number) = self.numbers(shard, day).await?.pop() else {
                continue;
            };
            let bytes = self.entry_bytes(shard, day, number).await?;
            let bytes = bytes.ok_or_else(|| self.bad_entry(shard, day, number, "it is missing".into()))?;
            let entry = self.decode_entry(shard, day, number, &bytes)?;
            let head = Head::of(&entry, &bytes);
            return Ok(Some((entry, head)));
        }
        self.refuse_old_layout(shard).await?;
        Ok(None)
    }

    /// Lists the days of a shard that have manifest entries, in order.
    pub(super) async fn days(&self, shard: u32) -> Result<Vec<Day>, ArchiveError> {
        let folder = name::shard_folder(&self.root(name::MANIFEST), shard);
        let folders = self.location().list_folders(&folder).await?;
        let day = |name: &String| {
            name::parse_day(name).ok_or_else(|| ArchiveError::ForeignFile {
                path: folder.clone().join(name.as_str()).to_string(),
            })
        };
        let mut days: Vec<Day> = folders.iter().map(day).collect::<Result<_, _>>()?;
        days.sort_unstable();
        Ok(days)
    }

    /// Lists the numbers of a day's entries, in order. Files that are no entries are skipped: an entry that
    /// was renamed is missing.
    pub(super) async fn numbers(&self, shard: u32, day: Day) -> Result<Vec<u64>, ArchiveError> {
        let folder = name::day_folder(&self.root(name::MANIFEST), shard, day);
        let files = self.location().list_files(&folder, MAX_FILES_A_DAY).await?;
        let number = |name: &String| name::parse_entry(shard, name);
        let mut numbers: Vec<u64> = files.iter().filter_map(number).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    async fn entries_of(
        self,
        shard: u32,
        day: Day,
    ) -> Result<BoxStream<'static, Result<(Day, u64, Bytes), ArchiveError>>, ArchiveError> {
        let numbers = self.numbers(shard, day).await?;
        let read = move |number| {
            let archive = self.clone();
            async move {
                let bytes = archive.entry_bytes(shard, day, number).await?;
                let missing = || archive.bad_entry(shard, day, number, "it is missing".into());
                Ok((day, number, bytes.ok_or_else(missing)?))
            }
        };
        Ok(futures::stream::iter(numbers)
            .map(read)
            .buffered(READ_AHEAD)
            .boxed())
    }

    /// Reads the bytes of an entry; None when it does not exist.
    pub(super) async fn entry_bytes(
        &self,
        shard: u32,
        day: Day,
        number: u64,
    ) -> Result<Option<Bytes>, ArchiveError> {
        let path = self.entry_path(shard, day, number);
        Ok(self.location().read_small(&path, MAX_ENTRY_BYTES).await?)
    }

    pub(super) fn entry_path(&self, shard: u32, day: Day, number: u64) -> Path {
        name::day_folder(&self.root(name::MANIFEST), shard, day).join(name::entry(shard, number))
    }

    pub(super) fn decode_entry(
        &self,
        shard: u32,
        day: Day,
        number: u64,
        bytes: &[u8],
    ) -> Result<ManifestEntry, ArchiveError> {
        ManifestEntry::decode(shard, day, number, bytes)
            .map_err(|what| self.bad_entry(shard, day, number, what))
    }

    pub(super) fn bad_entry(&self, shard: u32, day: Day, number: u64, what: String) -> ArchiveError {
        ArchiveError::Manifest {
            path: self.entry_path(shard, day, number).to_string(),
            what,
        }
    }

    /// Refuses a shard without manifest entries whose folder has files, as the first release wrote them.
    async fn refuse_old_layout(&self, shard: u32) -> Result<(), ArchiveError> {
        let folder = name::shard_folder(&self.root(name::CHANGES), shard);
        match self.location().any_file(&folder).await? {
            Some(file) if file.parts().count() == folder.parts().count() + 1 => {
                Err(ArchiveError::OldLayout {
                    path: file.to_string(),
                })
            }
            _ => Ok(()),
        }
    }
}
