//! The copy of the tree into which the faults are put.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps;

/// A copy of the tree. Dropping it removes it: its crates stand at the same places as those of the tree, so
/// cargo takes one for the other and would look for changes in the copy when it next builds the tree.
pub(super) struct Copy(PathBuf);

impl Drop for Copy {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            steps::say(&format!(
                "{} could not be removed ({error}): remove it before anything else is built",
                self.0.display()
            ));
        }
    }
}

impl Copy {
    /// Makes a copy in a folder below this one: the files that git knows, and new files that are not ignored.
    pub(super) fn make(folder: &Path) -> Result<Self> {
        let root = folder.join("tree");
        let mut list = Command::new("git");
        list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
        let files = steps::output(&mut list)?;
        let files: BTreeSet<&Path> = files
            .split('\0')
            .filter(|path| !path.is_empty())
            .map(Path::new)
            .filter(|path| steps::root().join(path).is_file())
            .collect();
        for path in &files {
            copy(&steps::root().join(path), &root.join(path))
                .with_context(|| format!("copying {}", path.display()))?;
        }
        remove_others(&root, &root, &files)?;
        Ok(Self(root))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }
}

/// Copies a file, unless the copy has the same content. Then its time stays, and cargo does not build it
/// again.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let content = fs::read(from)?;
    if fs::read(to).is_ok_and(|there| there == content) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(to, content)?;
    Ok(())
}

fn remove_others(root: &Path, folder: &Path, files: &BTreeSet<&Path>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            remove_others(root, &path, files)?;
        } else if !path.strip_prefix(root).is_ok_and(|path| files.contains(path)) {
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}
