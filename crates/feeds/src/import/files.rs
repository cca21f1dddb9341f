//! Atomic writing of a file: a reader sees the old file or the new one, never half of one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Writes a neighbour of `path`, syncs it and renames it to `path`. Makes the folder if needed.
///
/// # Errors
/// When the folder or the file cannot be written, or when `path` is no regular file: the rename would destroy
/// a device, a pipe or a socket. What was there then stays.
pub(super) fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::Error::other(format!("{} is a folder", path.display())));
    }
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(io::Error::other(format!(
            "{} is a device, a pipe or a socket, and a regular file is needed",
            path.display()
        )));
    }
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let neighbour = neighbour_of(path);
    let written = (|| {
        let mut file = BufWriter::new(create(&neighbour)?);
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

/// Makes the neighbour. Removes one that a crash left, and follows no link.
fn create(neighbour: &Path) -> io::Result<File> {
    match fs::remove_file(neighbour) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).open(neighbour)
}

/// Returns the path of the neighbour. Its name is one that nobody gives to a file of their own.
fn neighbour_of(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".holdfast-part");
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_regular_file_is_left_alone() {
        use std::os::unix::fs::{FileTypeExt, symlink};
        use std::os::unix::net::UnixListener;

        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        let link = folder.path().join("link");
        symlink(&socket, &link).unwrap();
        for path in [&socket, &link] {
            let failed = write_atomically(path, |file| file.write_all(b"new")).unwrap_err();
            assert!(
                failed.to_string().contains("a regular file is needed"),
                "{failed}"
            );
        }
        let found = fs::symlink_metadata(&socket).unwrap().file_type();
        assert!(found.is_socket(), "{found:?}");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

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
