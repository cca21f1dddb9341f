//! The state file: what a resumed import needs and cannot find in the change stream. It holds nothing
//! personal: neither customers nor descriptions, only row numbers.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::book::Refused;
use super::files::write_atomically;

const VERSION: u32 = 3;

/// The reason why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file system does not return it.
    #[error("cannot read the state file {}", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the file system.
        source: io::Error,
    },
    /// The content is not a state.
    #[error(
        "{} is no state file of an import, or it is damaged; choose another with --state (an import finds its \
         earlier operations in the change stream)",
        path.display()
    )]
    Damaged {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the content.
        source: serde_json::Error,
    },
    /// Another version of the program wrote it.
    #[error("the state file {} has version {version}, this program knows {VERSION}", path.display())]
    OtherVersion {
        /// Path of the file.
        path: PathBuf,
        /// The version of its format.
        version: u32,
    },
    /// The state is that of another file.
    #[error(
        "the state file {} is of another file (or this one was edited since); choose another with --state",
        path.display()
    )]
    OtherFile {
        /// Path of the state file.
        path: PathBuf,
    },
    /// The state is that of an import into another cluster.
    #[error(
        "the state file {} is of an import into cluster {of}, this is cluster {here}; choose another with \
         --state",
        path.display()
    )]
    OtherCluster {
        /// Path of the file.
        path: PathBuf,
        /// Id of the state's cluster.
        of: String,
        /// Id of the cluster that was asked.
        here: String,
    },
    /// The import began with other options.
    #[error("this import began with `{began_with}`; go on with the same options")]
    OtherOptions {
        /// The options of the state, as arguments of a command line.
        began_with: String,
    },
    /// The file system does not take it.
    #[error("cannot write the state file {}", path.display())]
    Unwritable {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the file system.
        source: io::Error,
    },
}

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
    pub(super) options: KeptOptions,
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
pub(super) struct KeptOptions {
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
        options: KeptOptions,
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
        options: &KeptOptions,
    ) -> Result<Option<Self>, StateError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StateError::Unreadable {
                    path: path.to_owned(),
                    source,
                });
            }
        };
        let path = path.to_owned();
        let state: Self = match serde_json::from_slice(&bytes) {
            Ok(state) => state,
            Err(source) => return Err(StateError::Damaged { path, source }),
        };
        if state.version != VERSION {
            let version = state.version;
            return Err(StateError::OtherVersion { path, version });
        }
        if state.file != file {
            return Err(StateError::OtherFile { path });
        }
        if state.cluster != cluster {
            return Err(StateError::OtherCluster {
                path,
                of: state.cluster,
                here: cluster.to_owned(),
            });
        }
        if state.options != *options {
            return Err(StateError::OtherOptions {
                began_with: state.options.as_arguments(),
            });
        }
        Ok(Some(state))
    }

    /// Writes the state file, all of it or nothing.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn save(&self, path: &Path) -> Result<(), StateError> {
        write_atomically(path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            file.write_all(b"\n")
        })
        .map_err(|source| StateError::Unwritable {
            path: path.to_owned(),
            source,
        })
    }
}

impl KeptOptions {
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
    use super::*;
    use crate::reject::RejectReason;

    fn options() -> KeptOptions {
        KeptOptions {
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
        let refused = |file, cluster, options: &KeptOptions| {
            State::load(&path, file, cluster, options)
                .unwrap_err()
                .to_string()
        };
        assert!(refused("other", "c1", &options()).contains("another file"));
        assert!(refused("abc", "c2", &options()).contains("into cluster c1, this is cluster c2"));
        let other = KeptOptions {
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
