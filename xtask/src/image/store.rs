//! Images in a store of our own: the buildah commands that make, read and remove them.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::steps;

/// A folder with images. The machine's own images are not touched.
pub(super) struct Store {
    folder: PathBuf,
    /// The lock file, which nobody else can lock while this command runs.
    _lock: File,
}

/// The part of an image's configuration that running it needs.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    pub(super) user: String,
    pub(super) env: Vec<String>,
    pub(super) entrypoint: Vec<String>,
    pub(super) cmd: Vec<String>,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "OCIv1")]
    oci: Oci,
}

#[derive(Deserialize)]
struct Oci {
    config: Config,
}

impl Store {
    /// Opens the store in this folder, and makes it if it is missing.
    pub(super) fn open(folder: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(folder.join("temporary"))?;
        let lock = File::create(folder.join("lock"))?;
        if lock.try_lock().is_err() {
            bail!("another `cargo xtask image` is at work in {}", folder.display());
        }
        let store = Self { folder, _lock: lock };
        // An interrupted run leaves its containers behind.
        steps::run(store.buildah(&["rm", "--all"]).stdout(Stdio::null()))?;
        Ok(store)
    }

    /// Returns the folder of the store.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes an empty folder beside the images.
    pub(super) fn empty_folder(&self, name: &str) -> Result<PathBuf> {
        empty(&self.folder.join(name))
    }

    /// Returns whether there is an image with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.buildah(&["inspect", "--type", "image", name])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Builds an image. Each of `stages` is a folder that stands for the stage with that name.
    pub(super) fn build(
        &self,
        dockerfile: &Path,
        context: &Path,
        stages: &[(&str, &Path)],
        name: &str,
    ) -> Result<()> {
        // This isolation needs no container runtime. Every base image is in the store already.
        let mut command = self.buildah(&["build", "--isolation", "chroot", "--pull=never", "--tag", name]);
        for (stage, folder) in stages {
            command
                .arg("--build-context")
                .arg(format!("{stage}={}", folder.display()));
        }
        command.arg("--file").arg(dockerfile).arg(context);
        steps::run(&mut command)
    }

    /// Removes images that newer ones with the same name have replaced.
    pub(super) fn forget_replaced(&self) -> Result<()> {
        steps::run(self.buildah(&["rmi", "--prune"]).stdout(Stdio::null()))
    }

    /// Copies the files of an image into a folder.
    pub(super) fn files_of(&self, image: &str) -> Result<Files<'_>> {
        let container = steps::output(&mut self.buildah(&["from", "--pull-never", image]))?;
        let mut files = Files {
            store: self,
            container: container.trim().to_owned(),
            root: PathBuf::new(),
        };
        let root = steps::output(&mut self.buildah(&["mount", &files.container]))?;
        files.root = PathBuf::from(root.trim());
        Ok(files)
    }

    /// Returns how an image is run.
    pub(super) fn config(&self, name: &str) -> Result<Config> {
        let text = steps::output(&mut self.buildah(&["inspect", "--type", "image", name]))?;
        let inspected: Inspected =
            serde_json::from_str(&text).with_context(|| format!("the configuration of {name}"))?;
        Ok(inspected.oci.config)
    }

    /// Returns the size of an image, with its unit.
    pub(super) fn size(&self, name: &str) -> Result<String> {
        let text =
            steps::output(&mut self.buildah(&["images", "--noheading", "--format", "{{.Size}}", name]))?;
        Ok(text.trim().to_owned())
    }

    fn buildah(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("buildah");
        // Plain copies of files: this storage driver works on every file system.
        command
            .args(["--storage-driver", "vfs", "--root"])
            .arg(self.folder.join("storage"))
            .arg("--runroot")
            .arg(self.folder.join("run"))
            .args(arguments)
            .env("TMPDIR", self.folder.join("temporary"))
            .stdin(Stdio::null());
        command
    }
}

/// Files of an image, as a copy that can be changed. They are removed when this is dropped.
pub(super) struct Files<'a> {
    store: &'a Store,
    container: String,
    pub(super) root: PathBuf,
}

impl Files<'_> {
    /// Makes an image from the files.
    pub(super) fn commit(&self, name: &str) -> Result<()> {
        let mut commit = self.store.buildah(&["commit", "--quiet", &self.container, name]);
        steps::run(commit.stdout(Stdio::null()))
    }
}

impl Drop for Files<'_> {
    fn drop(&mut self) {
        let mut remove = self.store.buildah(&["rm", &self.container]);
        let _ = remove.stdout(Stdio::null()).status();
    }
}

/// Makes a folder that is empty.
pub(super) fn empty(folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        std::fs::remove_dir_all(folder)?;
    }
    std::fs::create_dir_all(folder)?;
    Ok(folder.to_owned())
}
