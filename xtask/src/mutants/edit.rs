//! Edits of the source: a text that is there exactly once, and the text that takes its place.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// An edit of one file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Edit {
    pub(super) file: PathBuf,
    pub(super) search: String,
    pub(super) replace: String,
}

/// Reads the `.toml` files of a folder, sorted by name. The name has no ending.
pub(super) fn read_all<T: DeserializeOwned>(folder: &Path) -> Result<Vec<(String, T)>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let read = |path: &PathBuf| -> Result<(String, T)> {
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let parsed = toml::from_str(&fs::read_to_string(path)?)?;
        Ok((name, parsed))
    };
    paths
        .iter()
        .map(|path| read(path).with_context(|| path.display().to_string()))
        .collect()
}

/// Returns the new content of each edited file. Each edit comes with a name for the error. It must fit
/// exactly one place of the source, and no two edits may meet in one place.
pub(super) fn edited<'a>(
    root: &Path,
    edits: impl IntoIterator<Item = (&'a str, &'a Edit)>,
) -> Result<BTreeMap<PathBuf, String>> {
    let mut by_file: BTreeMap<&Path, Vec<(&str, &Edit)>> = BTreeMap::new();
    for (name, edit) in edits {
        by_file.entry(&edit.file).or_default().push((name, edit));
    }
    by_file
        .into_iter()
        .map(|(file, edits)| {
            let path = root.join(file);
            let source = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let content = replaced(&source, edits).with_context(|| file.display().to_string())?;
            Ok((path, content))
        })
        .collect()
}

/// Makes all edits of one source. All places are those of the source as it is, so no edit is looked for in
/// the text of another.
fn replaced(source: &str, edits: Vec<(&str, &Edit)>) -> Result<String> {
    let mut places: Vec<(Range<usize>, &str, &Edit)> = edits
        .into_iter()
        .map(|(name, edit)| {
            let starts: Vec<usize> = source.match_indices(&edit.search).map(|(at, _)| at).collect();
            ensure!(
                starts.len() == 1 && edit.search != edit.replace,
                "an edit of {name} must fit one place, and {} places are\n{}",
                starts.len(),
                edit.search
            );
            Ok((starts[0]..starts[0] + edit.search.len(), name, edit))
        })
        .collect::<Result<_>>()?;
    places.sort_by_key(|(place, ..)| place.start);
    let mut content = String::with_capacity(source.len());
    let mut done = 0;
    let mut before = "";
    for (place, name, edit) in places {
        ensure!(
            done <= place.start,
            "{before} and {name} edit the same text. The later one is\n{}",
            edit.search
        );
        content.push_str(&source[done..place.start]);
        content.push_str(&edit.replace);
        done = place.end;
        before = name;
    }
    content.push_str(&source[done..]);
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(search: &str, replace: &str) -> Edit {
        Edit {
            file: PathBuf::new(),
            search: search.to_owned(),
            replace: replace.to_owned(),
        }
    }

    #[test]
    fn edits_side_by_side_are_all_made_and_none_is_looked_for_in_the_text_of_another() {
        let (first, second) = (edit("if a ", "if b && a "), edit("&& b", "|| a"));
        let edits = vec![("second", &second), ("first", &first)];
        assert_eq!(replaced("if a && b {}", edits).unwrap(), "if b && a || a {}");
    }

    #[test]
    fn edits_that_meet_in_one_place_are_refused_by_name() {
        let (first, second) = (edit("a && b", "a"), edit("b {", "c {"));
        let edits = vec![("second", &second), ("first", &first)];
        let error = replaced("if a && b {}", edits).unwrap_err().to_string();
        assert!(error.contains("first and second edit the same text"), "{error}");
    }

    #[test]
    fn an_edit_that_fits_no_place_or_two_is_refused_by_name() {
        for search in ["c", "if"] {
            let it = edit(search, "d");
            let error = replaced("if a {} if b {}", vec![("it", &it)])
                .unwrap_err()
                .to_string();
            assert!(error.contains("an edit of it must fit one place"), "{error}");
        }
    }
}
