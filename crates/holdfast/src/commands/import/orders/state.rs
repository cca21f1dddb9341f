//! The state file: what a resumed import needs and cannot find in the change stream. It holds nothing
//! personal: neither customers nor descriptions, only row numbers.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::book::Refused;
use super::files::write_atomically;

const VERSION: u32 = 3;

/// The state that is kept between two runs of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    version: u32,
    /// Hash of the file's content.
    pub(super) file: String,
    /// Id of the cluster that the file is imported into.
    pub(super) cluster: String,
    /// The options that shape the operations.
    pub(super) options: Options,
    /// The time in the operation ids, in milliseconds since the Unix epoch.
    pub(super) epoch_ms: u64,
    /// The first change of each shard that may belong to this import.
    pub(super) from_seq: BTreeMap<u32, u64>,
    /// Rows that the ledger refused, by row number: a refusal leaves no trace in the ledger.
    pub(super) refused: BTreeMap<u64, Refused>,
    /// Whether every row was settled.
    pub(super) finished: bool,
}

/// The options that an import must keep from its first run to its last, as they are written on the command
/// line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Options {
    /// Value of `--initial-stock`.
    pub(super) initial_stock: String,
    /// Value of `--mode`.
    pub(super) mode: String,
    /// Values of `--warehouses`.
    pub(super) warehouses: Vec<String>,
    /// Value of `--storefront`.
    pub(super) storefront: String,
    /// Value of `--source`.
    pub(super) source: String,
    /// Values of `--not-stock`, in upper case.
    pub(super) not_stock: Vec<String>,
    /// Hash of the file that `--mapping` names; empty without one.
    pub(super) mapping: String,
}

impl State {
    /// Makes the state of an import that begins with this run.
    pub(super) fn new(
        file: &str,
        cluster: &str,
        options: Options,
        epoch_ms: u64,
        from_seq: BTreeMap<u32, u64>,
    ) -> Self {
        Self {
            version: VERSION,
            file: file.to_owned(),
            cluster: cluster.to_owned(),
            options,
            epoch_ms,
            from_seq,
            refused: BTreeMap::new(),
            finished: false,
        }
    }

    /// Reads the state file, if there is one.
    ///
    /// # Errors
    /// When it cannot be read or is damaged, or when it belongs to another file, another cluster or other
    /// options.
    pub(super) fn load(
        path: &Path,
        file: &str,
        cluster: &str,
        options: &Options,
    ) -> anyhow::Result<Option<Self>> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read the state file {}", path.display()));
            }
        };
        let state: Self = serde_json::from_slice(&bytes).with_context(|| {
            format!(
                "{} is no state file of an import, or it is damaged; choose another with --state (an import finds its \
                 earlier operations in the change stream)",
                path.display()
            )
        })?;
        anyhow::ensure!(
            state.version == VERSION,
            "the state file {} has version {}, this program knows {VERSION}",
            path.display(),
            state.version
        );
        anyhow::ensure!(
            state.file == file,
            "the state file {} is of another file (or this one was edited since); choose another with --state",
            path.display()
        );
        anyhow::ensure!(
            state.cluster == cluster,
            "the state file {} is of an import into cluster {}, this is cluster {cluster}; choose another with --state",
            path.display(),
            state.cluster
        );
        anyhow::ensure!(
            state.options == *options,
            "this import began with `{}`; go on with the same options",
            state.options.as_arguments()
        );
        Ok(Some(state))
    }

    /// Writes the state file, all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, path: &Path) -> anyhow::Result<()> {
        write_atomically(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            Ok(file.write_all(b"\n")?)
        })
        .with_context(|| format!("cannot write the state file {}", path.display()))
    }
}

impl Options {
    /// Returns the options as arguments of a command line.
    pub(super) fn as_arguments(&self) -> String {
        let mut text = format!(
            "--initial-stock {} --mode {} --warehouses {} --storefront {} --source {}",
            self.initial_stock,
            self.mode,
            self.warehouses.join(","),
            self.storefront,
            self.source
        );
        if !self.mapping.is_empty() {
            text.push_str(&format!(" --mapping (a file with the hash {})", self.mapping));
        }
        if !self.not_stock.is_empty() {
            text.push_str(&format!(" --not-stock {}", self.not_stock.join(",")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use holdfast_feeds::RejectReason;

    use super::*;

    fn options() -> Options {
        Options {
            initial_stock: "enough".into(),
            mode: "all-or-nothing".into(),
            warehouses: vec!["UK-1".into()],
            storefront: "online".into(),
            source: "orders".into(),
            not_stock: vec![],
            mapping: String::new(),
        }
    }

    fn state() -> State {
        let mut state = State::new("abc", "c1", options(), 5, BTreeMap::from([(0, 1), (1, 9)]));
        state.refused.insert(
            7,
            Refused {
                reason: RejectReason::InsufficientStock,
                detail: "2 of 3".into(),
            },
        );
        state
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("imports/state.json");
        assert_eq!(State::load(&path, "abc", "c1", &options()).unwrap(), None);
        state().save(&path).unwrap();
        assert_eq!(
            State::load(&path, "abc", "c1", &options()).unwrap(),
            Some(state())
        );
    }

    #[test]
    fn the_state_of_another_import_is_refused_with_advice() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        state().save(&path).unwrap();
        let refused = |file, cluster, options: &Options| {
            State::load(&path, file, cluster, options)
                .unwrap_err()
                .to_string()
        };
        assert!(refused("other", "c1", &options()).contains("another file"));
        assert!(refused("abc", "c2", &options()).contains("into cluster c1, this is cluster c2"));
        let other = Options {
            initial_stock: "none".into(),
            ..options()
        };
        assert!(refused("abc", "c1", &other).contains("--initial-stock enough"));
    }

    #[test]
    fn a_damaged_or_truncated_state_is_an_error_never_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let whole = serde_json::to_vec(&state()).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            assert!(State::load(&path, "abc", "c1", &options()).is_err());
        }
        std::fs::write(&path, b"\xff\x00garbage").unwrap();
        assert!(State::load(&path, "abc", "c1", &options()).is_err());
    }
}
