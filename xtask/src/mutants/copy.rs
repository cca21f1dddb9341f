//! A copy of the tree to be wrong in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::steps;

/// The copy. It is removed when this is dropped: cargo takes its crates for those of the tree, since they stand at the
/// same places, and would look for changes in the copy when the tree is built the next time.
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
    /// Makes the copy in a folder below this one the same as the tree: what git knows, and what is new and not ignored.
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

/// What is the same stays as it is, with its time: cargo builds it once.
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
