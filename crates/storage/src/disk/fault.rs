//! Disk in memory that fails in the ways of real disks, at the worst moment.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use self::file::{Change, FileData};
use super::{Disk, DiskFile};

/// A disk in memory. Unsynced writes may be lost, in whole or in part, at the next [`FaultDisk::crash`].
///
/// The same seed and the same calls give the same losses. Clones are the same disk.
#[derive(Clone)]
pub struct FaultDisk {
    platter: Arc<Mutex<Platter>>,
    /// Number of the current start. Handles from before a crash are dead.
    boot: u64,
}

#[derive(Clone)]
struct Platter {
    random: SmallRng,
    boot: u64,
    files: BTreeMap<u64, FileData>,
    next_file: u64,
    /// Names that programs see.
    names: BTreeMap<String, u64>,
    /// Names that are there after a crash.
    durable_names: BTreeMap<String, u64>,
    unsynced_names: Vec<NameChange>,
    directories: BTreeSet<String>,
    syncs: u64,
    failing_sync: Option<u64>,
    writes: u64,
    failing_write: Option<u64>,
    capacity_bytes: Option<u64>,
    /// Number of changes that are left before the power is cut.
    changes_before_cut: Option<u64>,
}

#[derive(Clone)]
enum NameChange {
    Add(String, u64),
    Rename(String, String),
    Remove(String),
}

impl NameChange {
    fn directory(&self) -> &str {
        let (NameChange::Add(path, _) | NameChange::Rename(path, _) | NameChange::Remove(path)) = self;
        directory_of(path)
    }

    fn apply(&self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Add(path, file) => {
                names.insert(path.clone(), *file);
            }
            NameChange::Rename(from, to) => {
                if let Some(file) = names.remove(from) {
                    names.insert(to.clone(), file);
                }
            }
            NameChange::Remove(path) => {
                names.remove(path);
            }
        }
    }
}

fn directory_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(directory, _)| directory)
}

impl FaultDisk {
    /// Makes an empty disk.
    pub fn new(seed: u64) -> FaultDisk {
        let platter = Platter {
            random: SmallRng::seed_from_u64(seed),
            boot: 0,
            files: BTreeMap::new(),
            next_file: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            directories: BTreeSet::new(),
            syncs: 0,
            failing_sync: None,
            writes: 0,
            failing_write: None,
            capacity_bytes: None,
            changes_before_cut: None,
        };
        FaultDisk {
            platter: Arc::new(Mutex::new(platter)),
            boot: 0,
        }
    }

    /// Returns a copy of the disk as programs see it, unsynced writes included. The copy is independent of
    /// the original.
    pub fn duplicate(&self) -> FaultDisk {
        FaultDisk {
            platter: Arc::new(Mutex::new(self.platter.lock().clone())),
            boot: self.boot,
        }
    }

    /// Cuts the power and starts again. This handle and its files are dead; the returned one sees what is
    /// left.
    ///
    /// The unsynced writes of a file leave nothing, everything, a prefix torn at any byte, or any sectors.
    /// The unsynced names of a directory leave a prefix. Planned faults are forgotten.
    pub fn crash(&self) -> FaultDisk {
        let mut platter = self.platter.lock();
        let Platter {
            random,
            files,
            names,
            durable_names,
            unsynced_names,
            ..
        } = &mut *platter;
        let mut kept: BTreeMap<String, bool> = BTreeMap::new();
        for change in unsynced_names.drain(..) {
            let keep = kept.entry(change.directory().to_string()).or_insert(true);
            *keep = *keep && random.random_bool(0.7);
            if *keep {
                change.apply(durable_names);
            }
        }
        *names = durable_names.clone();
        let reachable: BTreeSet<u64> = names.values().copied().collect();
        files.retain(|file, _| reachable.contains(file));
        for file in files.values_mut() {
            file.crash(random);
        }
        platter.failing_sync = None;
        platter.failing_write = None;
        platter.capacity_bytes = None;
        platter.changes_before_cut = None;
        platter.boot += 1;
        FaultDisk {
            platter: self.platter.clone(),
            boot: platter.boot,
        }
    }

    /// Cuts the power in the middle of the work: after `changes` more writes, syncs and changes of names,
    /// everything fails. [`FaultDisk::crash`] then decides what is left.
    pub fn cut_power_after(&self, changes: u64) {
        self.platter.lock().changes_before_cut = Some(changes);
    }

    /// Returns whether this handle's disk still works. It does not after the power was cut.
    pub fn has_power(&self) -> bool {
        self.platter.lock().boot == self.boot
    }

    /// Makes the sync after the next `syncs` ones fail, once. As on Linux, it forgets an arbitrary part of
    /// the unsynced data, and later syncs succeed without it.
    pub fn fail_sync_after(&self, syncs: u64) {
        let mut platter = self.platter.lock();
        platter.failing_sync = Some(platter.syncs + syncs);
    }

    /// Makes the write after the next `writes` ones fail, once, with nothing written.
    pub fn fail_write_after(&self, writes: u64) {
        let mut platter = self.platter.lock();
        platter.failing_write = Some(platter.writes + writes);
    }

    /// Limits the sum of all file sizes; growing over it fails with `StorageFull`. `None` lifts the limit.
    pub fn set_capacity_bytes(&self, bytes: Option<u64>) {
        self.platter.lock().capacity_bytes = bytes;
    }

    /// Returns the sum of all file sizes, as [`FaultDisk::set_capacity_bytes`] counts it.
    pub fn used_bytes(&self) -> u64 {
        let platter = self.platter.lock();
        let files = platter.names.values().filter_map(|file| platter.files.get(file));
        files.map(|file| file.current.len() as u64).sum()
    }

    /// Flips one bit of a file, silently. Returns whether the file has that byte.
    pub fn flip_bit(&self, path: &str, offset: u64, bit: u8) -> bool {
        let mut platter = self.platter.lock();
        let Some(file) = platter.file(path) else {
            return false;
        };
        let Some(byte) = file.current.get_mut(offset as usize) else {
            return false;
        };
        *byte ^= 1 << (bit % 8);
        if let Some(byte) = file.durable.get_mut(offset as usize) {
            *byte ^= 1 << (bit % 8);
        }
        true
    }

    /// Returns the content of a file as programs see it.
    pub fn content(&self, path: &str) -> Option<Vec<u8>> {
        Some(self.platter.lock().file(path)?.current.clone())
    }

    /// Replaces the content of a file, durably; makes it if needed.
    pub fn set_content(&self, path: &str, content: Vec<u8>) {
        let mut platter = self.platter.lock();
        let file = FileData {
            durable: content.clone(),
            current: content,
            unsynced: Vec::new(),
        };
        let number = platter.next_file;
        platter.next_file += 1;
        platter.files.insert(number, file);
        platter.make_directory(directory_of(path));
        platter.names.insert(path.to_string(), number);
        platter.durable_names.insert(path.to_string(), number);
    }

    /// Returns the paths of all files, sorted.
    pub fn paths(&self) -> Vec<String> {
        self.platter.lock().names.keys().cloned().collect()
    }

    /// Returns the number of successful data syncs.
    pub fn syncs(&self) -> u64 {
        self.platter.lock().syncs
    }

    fn alive(&self) -> io::Result<parking_lot::MutexGuard<'_, Platter>> {
        let platter = self.platter.lock();
        if platter.boot != self.boot {
            return Err(io::Error::other("the power was cut"));
        }
        Ok(platter)
    }

    /// Locks the disk for a change, which may be the one at which the power is cut.
    fn changing(&self) -> io::Result<parking_lot::MutexGuard<'_, Platter>> {
        let mut platter = self.alive()?;
        if platter.changes_before_cut == Some(0) {
            platter.boot += 1;
            return Err(io::Error::other("the power was cut"));
        }
        platter.changes_before_cut = platter.changes_before_cut.map(|left| left - 1);
        Ok(platter)
    }

    fn handle(&self, file: u64) -> Arc<dyn DiskFile> {
        Arc::new(FaultFile {
            disk: self.clone(),
            file,
        })
    }
}

impl Platter {
    fn file(&mut self, path: &str) -> Option<&mut FileData> {
        let number = self.names.get(path)?;
        self.files.get_mut(number)
    }

    fn data(&mut self, file: u64) -> io::Result<&mut FileData> {
        self.files
            .get_mut(&file)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn check_capacity(&self, file: u64, size: usize) -> io::Result<()> {
        let named = self.names.values().filter(|number| **number != file);
        let others: u64 = named
            .filter_map(|number| self.files.get(number))
            .map(|data| data.current.len() as u64)
            .sum();
        match self.capacity_bytes {
            Some(capacity) if others + size as u64 > capacity => Err(io::ErrorKind::StorageFull.into()),
            _ => Ok(()),
        }
    }

    fn make_directory(&mut self, path: &str) {
        let mut directory = path;
        while !directory.is_empty() {
            self.directories.insert(directory.to_string());
            directory = directory_of(directory);
        }
    }

    fn rename(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.unsynced_names.push(change);
    }
}

impl Disk for FaultDisk {
    fn create(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut platter = self.changing()?;
        if platter.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        if !platter.directories.contains(directory_of(path)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = platter.next_file;
        platter.next_file += 1;
        platter.files.insert(file, FileData::default());
        platter.rename(NameChange::Add(path.to_string(), file));
        Ok(self.handle(file))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskFile>> {
        let platter = self.alive()?;
        let file = platter.names.get(path).copied().ok_or(io::ErrorKind::NotFound)?;
        Ok(self.handle(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut platter = self.changing()?;
        if !platter.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        platter.rename(NameChange::Rename(from.to_string(), to.to_string()));
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut platter = self.changing()?;
        if !platter.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        platter.rename(NameChange::Remove(path.to_string()));
        Ok(())
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.changing()?.make_directory(path);
        Ok(())
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let platter = self.alive()?;
        let prefix = format!("{dir}/");
        let children = platter
            .names
            .keys()
            .chain(&platter.directories)
            .filter_map(|path| path.strip_prefix(&prefix));
        let names: BTreeSet<String> = children
            .filter(|name| !name.contains('/'))
            .map(str::to_string)
            .collect();
        Ok(names.into_iter().collect())
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        let mut platter = self.changing()?;
        let Platter {
            durable_names,
            unsynced_names,
            ..
        } = &mut *platter;
        unsynced_names.retain(|change| {
            let synced = change.directory() == dir;
            if synced {
                change.apply(durable_names);
            }
            !synced
        });
        Ok(())
    }
}

struct FaultFile {
    disk: FaultDisk,
    file: u64,
}

impl DiskFile for FaultFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut platter = self.disk.alive()?;
        let content = &platter.data(self.file)?.current;
        let start = content.len().min(offset as usize);
        let bytes = buffer.len().min(content.len() - start);
        buffer[..bytes].copy_from_slice(&content[start..start + bytes]);
        Ok(bytes)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut platter = self.disk.changing()?;
        if platter.failing_write == Some(platter.writes) {
            platter.failing_write = None;
            return Err(io::Error::other("the disk was told to fail this write"));
        }
        let size = platter.data(self.file)?.current.len();
        let grown = offset as usize + bytes.len();
        if grown > size {
            platter.check_capacity(self.file, grown)?;
        }
        platter.writes += 1;
        let data = platter.data(self.file)?;
        let change = Change::Write {
            offset: offset as usize,
            bytes: bytes.to_vec(),
        };
        change.apply(&mut data.current);
        data.unsynced.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.disk.changing()?;
        if platter.failing_sync == Some(platter.syncs) {
            platter.failing_sync = None;
            let Platter { random, files, .. } = &mut *platter;
            if let Some(data) = files.get_mut(&self.file) {
                data.unsynced.retain(|_| random.random_bool(0.5));
            }
            return Err(io::Error::other("the disk was told to fail this sync"));
        }
        platter.syncs += 1;
        let data = platter.data(self.file)?;
        for change in std::mem::take(&mut data.unsynced) {
            change.apply(&mut data.durable);
        }
        Ok(())
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.data(self.file)?.current.len() as u64)
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let mut platter = self.disk.changing()?;
        platter.check_capacity(self.file, bytes as usize)?;
        let data = platter.data(self.file)?;
        let change = Change::Resize {
            bytes: bytes as usize,
        };
        change.apply(&mut data.current);
        data.unsynced.push(change);
        Ok(())
    }
}
