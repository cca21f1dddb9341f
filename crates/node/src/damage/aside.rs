//! Moves the files of a damaged data folder out of the way.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use holdfast_storage::RealDisk;

use crate::stores::FACTS_FOLDER;

/// The folder for damaged files, inside the data folder.
const FOLDER: &str = "damaged";
/// The file that says what was damaged, beside the files that were put aside.
const WHY: &str = "damage.txt";
/// The folders that are moved, in this order. The facts go first: without them the rest belongs to no node,
/// so a crash in between never leaves a node that votes with half of its files.
const MOVED: [&str; 5] = [FACTS_FOLDER, "log", "snapshots", "changes", "restore"];
/// Most damaged folders that are kept. A disk that was damaged more often has to be replaced.
pub(super) const MOST: usize = 3;

/// Returns the folder for damaged files.
pub(super) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER)
}

/// Returns how many damaged folders were put aside and are still there.
pub(crate) fn count(data_dir: &Path) -> usize {
    fs::read_dir(folder(data_dir)).map_or(0, |entries| entries.flatten().count())
}

/// Returns whether this folder replaces a damaged one.
pub(crate) fn was_put_aside(data_dir: &Path) -> bool {
    count(data_dir) > 0
}

/// Moves the files to a folder of their own, durably, and returns that folder. Blocks.
pub(super) fn put_aside(data_dir: &Path, damage: &str) -> io::Result<PathBuf> {
    // The lock keeps other processes out meanwhile.
    let lock = RealDisk::open(data_dir).map_err(io::Error::other)?;
    let all = folder(data_dir);
    let mut number = 1;
    while all.join(number.to_string()).exists() {
        number += 1;
    }
    let aside = all.join(number.to_string());
    fs::create_dir_all(&aside)?;
    fs::write(aside.join(WHY), format!("{damage}\n"))?;
    for synced in [aside.join(WHY), aside.clone(), all, data_dir.to_path_buf()] {
        File::open(synced)?.sync_all()?;
    }
    for name in MOVED {
        match fs::rename(data_dir.join(name), aside.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            moved => moved?,
        }
        File::open(data_dir)?.sync_all()?;
        File::open(&aside)?.sync_all()?;
    }
    drop(lock);
    Ok(aside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_put_aside_and_nothing_is_lost() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!was_put_aside(folder.path()));
        for round in 1..=2 {
            for name in MOVED {
                fs::create_dir(folder.path().join(name)).unwrap();
                fs::write(folder.path().join(name).join("file"), round.to_string()).unwrap();
            }
            let aside = put_aside(folder.path(), "a bit").unwrap();
            assert_eq!(count(folder.path()), round);
            for name in MOVED {
                assert!(!folder.path().join(name).exists());
                assert_eq!(
                    fs::read_to_string(aside.join(name).join("file")).unwrap(),
                    round.to_string()
                );
            }
            assert_eq!(fs::read_to_string(aside.join(WHY)).unwrap(), "a bit\n");
        }
    }

    #[test]
    fn a_folder_in_use_is_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let _held = RealDisk::open(folder.path()).unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        assert!(put_aside(folder.path(), "a bit").is_err());
        assert!(folder.path().join("log").exists());
    }
}
