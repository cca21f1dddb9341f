//! The difference between the files of the image and those of its base image.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Files and folders that the Dockerfile brings. Everything else that is new is reported: a source tree, a
/// cargo registry, the rest of an installation.
const EXPECTED: [&str; 20] = [
    "etc/.pwd.lock",
    "etc/group-",
    "etc/gshadow-",
    "etc/holdfast",
    "etc/holdfast/node.toml",
    "etc/hostname",
    "etc/hosts",
    "etc/passwd-",
    "etc/resolv.conf",
    "etc/shadow-",
    "etc/ssl",
    "etc/ssl/certs",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/subgid-",
    "etc/subuid-",
    "run/.containerenv",
    "usr/local/bin/holdfast",
    "var/lib/holdfast",
    "var/log/faillog",
    "var/log/lastlog",
];

/// The mode bits that let a program run as another user or group than its caller.
const SET_ID: u32 = 0o6000;

/// Mode and owner of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    mode: u32,
    owner: u32,
}

/// Checks that the image adds only what it should, and no program that changes its user.
pub(super) fn check(base: &Path, image: &Path) -> Result<()> {
    let faults = faults(&entries(base)?, &entries(image)?);
    if !faults.is_empty() {
        bail!("the image is not as it should be:\n  {}", faults.join("\n  "));
    }
    Ok(())
}

fn entries(root: &Path) -> Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                folders.push(entry.path());
            }
            let path = entry.path().strip_prefix(root)?.to_owned();
            let (mode, owner) = (metadata.mode(), metadata.uid());
            found.insert(path, Entry { mode, owner });
        }
    }
    Ok(found)
}

fn faults(base: &BTreeMap<PathBuf, Entry>, image: &BTreeMap<PathBuf, Entry>) -> Vec<String> {
    let data = Path::new("var/lib/holdfast");
    let mut faults = Vec::new();
    for (path, entry) in image {
        let before = base.get(path);
        let shown = path.display();
        if before.is_none() && !EXPECTED.iter().any(|expected| path == Path::new(expected)) {
            faults.push(format!("/{shown} is new"));
        }
        if entry.mode & SET_ID != 0 && before != Some(entry) {
            faults.push(format!("/{shown} changes its user or group when it is run"));
        }
        if before != Some(entry) && entry.owner != 0 && path != data {
            faults.push(format!(
                "/{shown} belongs to user {} and not to root",
                entry.owner
            ));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, u32, u32)]) -> BTreeMap<PathBuf, Entry> {
        let entries = entries
            .iter()
            .map(|&(path, mode, owner)| (PathBuf::from(path), Entry { mode, owner }));
        entries.collect()
    }

    const BASE: [(&str, u32, u32); 2] = [("usr/bin/su", 0o104_755, 0), ("var/mail", 0o42_775, 0)];

    fn with(added: (&str, u32, u32)) -> Vec<String> {
        faults(&tree(&BASE), &tree(&[&BASE[..], &[added]].concat()))
    }

    #[test]
    fn the_files_of_holdfast_are_expected() {
        assert_eq!(
            with(("usr/local/bin/holdfast", 0o100_755, 0)),
            Vec::<String>::new()
        );
        assert_eq!(with(("var/lib/holdfast", 0o40_750, 10_001)), Vec::<String>::new());
    }

    #[test]
    fn a_source_file_is_found() {
        assert_eq!(
            with(("source/Cargo.toml", 0o100_644, 0)),
            ["/source/Cargo.toml is new"]
        );
    }

    #[test]
    fn a_program_with_set_id_is_found() {
        let expected = ["/usr/local/bin/holdfast changes its user or group when it is run"];
        assert_eq!(with(("usr/local/bin/holdfast", 0o104_755, 0)), expected);
    }

    #[test]
    fn a_binary_that_its_own_user_can_replace_is_found() {
        let expected = ["/usr/local/bin/holdfast belongs to user 10001 and not to root"];
        assert_eq!(with(("usr/local/bin/holdfast", 0o100_755, 10_001)), expected);
    }
}
