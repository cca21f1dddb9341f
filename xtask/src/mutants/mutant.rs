//! One fault: an edit of the source, and the test that has to notice it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::edit::{self, Edit};
use crate::steps;

/// One file of `tests/mutants/`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mutant {
    /// Name of the file, without its ending.
    #[serde(skip)]
    pub(super) name: String,
    /// The fault, in a sentence.
    pub(super) breaks: String,
    /// Workspace of the test, as a folder below the root; the root itself when missing.
    #[serde(default)]
    workspace: String,
    /// The package of the test.
    package: String,
    /// Integration test that contains it; missing for a unit test.
    #[serde(default)]
    target: Option<String>,
    /// Full name of the test that has to fail.
    pub(super) test: String,
    #[serde(rename = "edit")]
    edits: Vec<Edit>,
}

/// Reads all mutants, sorted by name.
pub(super) fn read_all(root: &Path) -> Result<Vec<Mutant>> {
    let mutants = edit::read_all::<Mutant>(&root.join("tests/mutants"))?;
    mutants
        .into_iter()
        .map(|(name, mutant)| {
            ensure!(
                !mutant.edits.is_empty(),
                "tests/mutants/{name}.toml edits nothing"
            );
            Ok(Mutant { name, ..mutant })
        })
        .collect()
}

impl Mutant {
    /// Fails unless every edit fits exactly one place, and the test is in the source.
    pub(super) fn check(&self, root: &Path) -> Result<()> {
        let fits = || -> Result<()> {
            self.edited(root)?;
            let word = self.test.rsplit("::").next().unwrap_or_default();
            let sources = root.join(&self.workspace);
            ensure!(
                has_function(&sources, word)?,
                "no source below {} has a test {word}",
                sources.display()
            );
            Ok(())
        };
        fits().with_context(|| format!("tests/mutants/{}.toml", self.name))
    }

    /// Returns the new content of each file.
    fn edited(&self, root: &Path) -> Result<BTreeMap<PathBuf, String>> {
        edit::edited(root, self.edits.iter().map(|edit| (self.name.as_str(), edit)))
    }

    /// Applies the edits to the files.
    pub(super) fn apply(&self, root: &Path) -> Result<Edited> {
        let mut before = BTreeMap::new();
        for (path, content) in self.edited(root)? {
            before.insert(path.clone(), fs::read_to_string(&path)?);
            fs::write(&path, content)?;
        }
        Ok(Edited(before))
    }

    /// Returns `cargo test` for the package and target, without the name of the test.
    pub(super) fn command(&self, root: &Path) -> Command {
        let mut command = steps::cargo();
        let folder = root.join(&self.workspace);
        // Dependencies that are built already can be used. Only the copy's own packages are built again.
        let target = match folder.file_name() {
            Some(workspace) if !self.workspace.is_empty() => steps::target().join(workspace),
            _ => steps::target(),
        };
        command.current_dir(folder).env("CARGO_TARGET_DIR", target).args([
            "test",
            "--package",
            &self.package,
        ]);
        match &self.target {
            Some(target) => command.args(["--test", target]),
            None => command.arg("--lib"),
        };
        command
    }
}

/// The files before the edit, which [`Edited::undo`] restores.
#[must_use]
pub(super) struct Edited(BTreeMap<PathBuf, String>);

impl Edited {
    pub(super) fn undo(self) -> Result<()> {
        for (path, content) in self.0 {
            fs::write(path, content)?;
        }
        Ok(())
    }
}

fn has_function(folder: &Path, name: &str) -> Result<bool> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        let hidden = entry.file_name().to_string_lossy().starts_with('.');
        if hidden || entry.file_name() == "target" {
            continue;
        }
        let found = if entry.file_type()?.is_dir() {
            has_function(&path, name)?
        } else {
            path.extension().is_some_and(|it| it == "rs")
                && fs::read_to_string(&path)?.contains(&format!("fn {name}("))
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}
