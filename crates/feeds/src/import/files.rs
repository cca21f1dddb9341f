//! Atomic writing of a file: a reader sees the old file or the new one, never half of one.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a neighbour of `path`, syncs it and renames it to `path`. Makes the folder if needed.
///
/// # Errors
/// When the folder or the file cannot be written. The old file then stays.
pub(super) fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::Error::other(format!("{} is a folder", path.display())));
    }
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let neighbour = neighbour_of(path);
    let written = (|| {
        let mut file = BufWriter::new(File::create(&neighbour)?);
        fill(&mut file)?;
        file.flush()?;
        file.get_ref().sync_all()?;
        fs::rename(&neighbour, path)?;
        File::open(folder)?.sync_all()?;
        Ok(())
    })();
    if written.is_err() {
        // The first error is the one to report. The next try overwrites a neighbour that could not be
        // removed.
        let _ = fs::remove_file(&neighbour);
    }
    written
}

fn neighbour_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_neighbour() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/state.json");
        write_atomically(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write_atomically(&path, |file| {
            file.write_all(b"ne")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
