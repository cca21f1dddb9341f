//! Proves from the files alone that an archive is whole: nothing is missing, changed, renamed, replaced or
//! out of order since its first change. Where [`super::Chain`] stops at the first fault, this goes on and
//! names every one.

use std::collections::BTreeSet;

use futures::StreamExt as _;
use holdfast_lake::{ReadError, Sha256};
use serde::{Deserialize, Serialize};

use super::chain::MAX_FILES_A_DAY;
use super::manifest::{Head, MAX_FILE_BYTES, ManifestEntry};
use super::name::{self, Day, FileName};
use super::{Archive, ArchiveError, blocking, content};

/// The most faults that are kept. The others are only counted.
const KEPT_FAULTS: usize = 1000;
/// How many files are read and decoded at the same time. Each needs the memory of its bytes.
const AT_ONCE: usize = 4;

/// One fault of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The file that is wrong.
    pub path: String,
    /// The fault, in words.
    pub what: String,
}

/// The part of the proof about one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvenShard {
    /// The number of the shard.
    pub shard: u32,
    /// The change with which the archive begins. It has none before.
    pub first_seq: u64,
    /// The last change.
    pub last_seq: u64,
    /// The number of manifest entries, and so of files.
    pub entries: u64,
    /// The number of changes in the files.
    pub changes: u64,
    /// The size of the files in bytes.
    pub bytes: u64,
    /// The number of the last manifest entry.
    pub head_entry: u64,
    /// The SHA-256 of the last manifest entry, which depends on every file before it.
    pub head: Option<Sha256>,
}

/// The result of a proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// True when there are no faults.
    pub ok: bool,
    /// Each shard, in order.
    pub shards: Vec<ProvenShard>,
    /// The number of files without an entry. They are whole, and entries cover their changes. An export that
    /// was interrupted or slower than another one leaves such files. They do not count.
    pub left_over: u64,
    /// True when the store keeps versions of files, so that deleted and replaced files were looked for.
    pub has_versions: bool,
    /// The number of faults.
    pub fault_count: u64,
    /// The first faults.
    pub faults: Vec<Fault>,
}

impl Proof {
    fn add(&mut self, path: impl ToString, what: impl Into<String>) {
        self.ok = false;
        self.fault_count += 1;
        if self.faults.len() < KEPT_FAULTS {
            self.faults.push(Fault {
                path: path.to_string(),
                what: what.into(),
            });
        }
    }
}

/// The result for one entry and its file, each by itself.
struct Checked {
    number: u64,
    /// None when the entry vanished after it was listed.
    sha256: Option<Sha256>,
    entry: Result<ManifestEntry, String>,
    /// The fault of the file, in words.
    file_fault: Option<String>,
}

/// The knowledge about the entry before.
#[derive(Default)]
struct Before {
    number: u64,
    sha256: Option<Sha256>,
    /// The last change and its log time; None when the entry is damaged.
    end: Option<(u64, u64)>,
}

impl Archive {
    /// Reads everything and names each fault. `progress` gets the number of changes of each file that was
    /// read. Memory is bounded by the files of one day and by some files in flight.
    ///
    /// The files alone cannot show that their newest ones were removed together with their entries. An
    /// `earlier` proof shows it: its heads have to be in the archive still.
    ///
    /// # Errors
    /// The store fails, so that nothing is known; or there is nothing to prove.
    pub async fn prove(
        &self,
        only: Option<u32>,
        earlier: &[ProvenShard],
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Proof, ArchiveError> {
        let mut shards: BTreeSet<u32> = self.shards().await?.into_iter().collect();
        // A shard whose manifest was removed still has files.
        shards.extend(self.shards_of(name::CHANGES).await?);
        shards.retain(|shard| only.is_none_or(|only| only == *shard));
        let mut proof = Proof {
            ok: true,
            shards: Vec::new(),
            left_over: 0,
            has_versions: false,
            fault_count: 0,
            faults: Vec::new(),
        };
        let owner = self.root(name::CHANGES).join("owner.json");
        match self.names_its_cluster().await {
            Ok(true) => {}
            Ok(false) => proof.add(owner, "it is missing, and nothing says whose history this is"),
            Err(error) => proof.add(owner, error.to_string()),
        }
        for shard in shards {
            self.prove_shard(shard, earlier, &mut proof, progress).await?;
        }
        for known in earlier
            .iter()
            .filter(|known| only.is_none_or(|only| only == known.shard))
        {
            let found = proof.shards.iter().find(|found| found.shard == known.shard);
            let last = found.map_or(0, |found| found.head_entry);
            if last < known.head_entry {
                let folder = name::shard_folder(&self.root(name::MANIFEST), known.shard);
                let first = folder.join(name::entry(known.shard, last + 1));
                let what = format!(
                    "the manifest ends before it, and the earlier proof had {}",
                    known.head_entry
                );
                proof.add(first, what);
            }
        }
        Ok(proof)
    }

    async fn prove_shard(
        &self,
        shard: u32,
        earlier: &[ProvenShard],
        proof: &mut Proof,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ArchiveError> {
        let known = earlier.iter().find(|known| known.shard == shard);
        let mut days = BTreeSet::new();
        for root in [name::CHANGES, name::MANIFEST] {
            let folder = name::shard_folder(&self.root(root), shard);
            for name in self.location().list_folders(&folder).await? {
                match name::parse_day(&name) {
                    Some(day) => drop(days.insert(day)),
                    None => proof.add(folder.clone().join(name), "this folder is not of the archive"),
                }
            }
        }
        let mut proven = ProvenShard {
            shard,
            first_seq: 0,
            last_seq: 0,
            entries: 0,
            changes: 0,
            bytes: 0,
            head_entry: 0,
            head: None,
        };
        let mut before = Before::default();
        let mut without_entry: Vec<(Day, String)> = Vec::new();
        for day in days {
            // Files are listed before entries: an export that runs meanwhile writes them in the same order.
            let folder = name::day_folder(&self.root(name::CHANGES), shard, day);
            let files = self.location().list_files(&folder, MAX_FILES_A_DAY).await?;
            let mut files: BTreeSet<String> = files.into_iter().collect();
            let numbers = self.numbers(shard, day).await?;
            let checks = numbers
                .into_iter()
                .map(|number| self.check_entry(shard, day, number));
            let mut checks = futures::stream::iter(checks).buffered(AT_ONCE);
            while let Some(checked) = checks.next().await {
                let checked = checked?;
                if let Ok(entry) = &checked.entry {
                    files.remove(entry.file.rsplit('/').next().unwrap_or_default());
                    proof.has_versions |= entry.file_version.is_some();
                    progress(entry.rows);
                }
                self.judge(shard, day, &checked, &mut before, &mut proven, proof);
                if known
                    .is_some_and(|known| known.head_entry == checked.number && known.head != checked.sha256)
                {
                    let path = self.entry_path(shard, day, checked.number);
                    proof.add(path, "it is another one than in the earlier proof");
                }
            }
            without_entry.extend(files.into_iter().map(|file| (day, file)));
        }
        for (day, file) in without_entry {
            match self.check_left_over(shard, day, &file, proven.last_seq).await? {
                None => proof.left_over += 1,
                Some(what) => {
                    let folder = name::day_folder(&self.root(name::CHANGES), shard, day);
                    proof.add(folder.join(file), what);
                }
            }
        }
        if proven.entries > 0 {
            proof.shards.push(proven);
        }
        Ok(())
    }

    /// Compares an entry with the one before it, and notes all faults.
    fn judge(
        &self,
        shard: u32,
        day: Day,
        checked: &Checked,
        before: &mut Before,
        proven: &mut ProvenShard,
        proof: &mut Proof,
    ) {
        let path = self.entry_path(shard, day, checked.number);
        let expected = before.number + 1;
        match checked.number {
            number if number > expected => {
                let first = name::entry(shard, expected);
                proof.add(
                    name::shard_folder(&self.root(name::MANIFEST), shard).join(first.as_str()),
                    match number - expected {
                        1 => format!("the manifest entry {expected} is missing"),
                        _ => format!("the manifest entries {expected} to {} are missing", number - 1),
                    },
                );
            }
            number if number < expected => {
                proof.add(&path, format!("it comes after entry {}", before.number));
                return;
            }
            _ => {}
        }
        match &checked.entry {
            Err(what) => proof.add(&path, what),
            Ok(entry) => {
                if checked.number == expected
                    && let Err(what) = self.check_follows(before, entry)
                {
                    proof.add(&path, what);
                }
                if let Some(what) = &checked.file_fault {
                    let named_by = name::entry(shard, entry.entry);
                    proof.add(
                        self.file(entry),
                        format!("{what} (the manifest entry {named_by} names it)"),
                    );
                }
                if proven.entries == 0 {
                    proven.first_seq = entry.first_seq;
                }
                proven.last_seq = proven.last_seq.max(entry.last_seq);
                proven.changes += entry.rows;
                proven.bytes += entry.bytes;
            }
        }
        proven.entries += 1;
        proven.head_entry = checked.number;
        proven.head = checked.sha256;
        *before = Before {
            number: checked.number,
            sha256: checked.sha256,
            end: checked
                .entry
                .as_ref()
                .ok()
                .map(|entry| (entry.last_seq, entry.last_log_time_ms)),
        };
    }

    fn check_follows(&self, before: &Before, entry: &ManifestEntry) -> Result<(), String> {
        let (Some(sha256), number) = (before.sha256, before.number) else {
            return Head::check_next(None, entry);
        };
        // After a damaged entry the numbers of the changes are unknown, but its hash is known.
        let (last_seq, last_log_time_ms) = before.end.unwrap_or((entry.first_seq - 1, 0));
        let head = Head {
            entry: number,
            sha256,
            last_seq,
            last_log_time_ms,
        };
        Head::check_next(Some(&head), entry)
    }

    async fn check_entry(&self, shard: u32, day: Day, number: u64) -> Result<Checked, ArchiveError> {
        let read = match self.entry_bytes(shard, day, number).await {
            Ok(Some(bytes)) => {
                let entry = ManifestEntry::decode(shard, day, number, &bytes);
                (Some(Sha256::of(&bytes)), entry)
            }
            Ok(None) => (None, Err("it is missing".to_owned())),
            Err(ArchiveError::Read(ReadError::Changed { what, .. })) => (None, Err(what)),
            Err(error) => return Err(error),
        };
        let (sha256, entry) = read;
        let file_fault = match &entry {
            Ok(entry) => self.check_file(entry).await?,
            Err(_) => None,
        };
        Ok(Checked {
            number,
            sha256,
            entry,
            file_fault,
        })
    }

    /// Returns the fault of an entry's file, in words.
    async fn check_file(&self, entry: &ManifestEntry) -> Result<Option<String>, ArchiveError> {
        let path = self.file(entry);
        let bytes = match self.location().read_checked(&path, &entry.expected()).await {
            Ok(bytes) => bytes,
            Err(ReadError::Missing { .. }) => return Ok(Some("it is missing".to_owned())),
            Err(ReadError::Changed { what, .. }) => return Ok(Some(what)),
            Err(error) => return Err(error.into()),
        };
        let of_file = entry.clone();
        let content = blocking(move || content::check(&of_file, bytes, drop)).await;
        match content {
            Ok(()) => {}
            Err(error @ ArchiveError::Defect(_)) => return Err(error),
            Err(error) => return Ok(Some(error.to_string())),
        }
        let Some(written) = &entry.file_version else {
            return Ok(None);
        };
        Ok(match self.location().newest(&path).await? {
            None => Some(format!(
                "it was deleted: a delete marker hides its version {written}, which is still there"
            )),
            Some(newest) if newest.version.as_ref() != Some(written) => Some(format!(
                "it was replaced: version {} hides its version {written}, which is still there",
                newest.version.as_deref().unwrap_or("without a name")
            )),
            Some(_) => None,
        })
    }

    /// Returns the fault of a file that no entry names, in words. None means that it is harmless.
    async fn check_left_over(
        &self,
        shard: u32,
        day: Day,
        file: &str,
        last_seq: u64,
    ) -> Result<Option<String>, ArchiveError> {
        let Some(name) = file.parse::<FileName>().ok().filter(|name| name.shard == shard) else {
            return Ok(Some("no file of the archive has such a name".to_owned()));
        };
        let path = name::day_folder(&self.root(name::CHANGES), shard, day).join(file);
        let Some(bytes) = self.location().read_small(&path, MAX_FILE_BYTES).await? else {
            return Ok(None);
        };
        if Sha256::of(&bytes).short() != name.hash {
            return Ok(Some(
                "no manifest entry names it, and its name does not fit its content".to_owned(),
            ));
        }
        if name.last_seq > last_seq {
            return Ok(Some(format!(
                "no manifest entry names it, and the last entry ends with change {last_seq}: an entry was removed, \
                 or an export was interrupted; export again, and the next proof tells which"
            )));
        }
        Ok(None)
    }
}
