//! The engine: the rows of one file become operations of the ledger. An *import* is one run over one file.
//!
//! ```text
//! file ─ order_file ──────┬──> plan (matching, initial_stock) ─> steps, cut into waves
//!                       known                                          │
//! change stream ─ applied ┴─ look_back ─┐                              ▼
//! state file ─ state ───────────────────┴───────> drive ─> run ─ waves ─ kinds ─ requests ─> target
//!                                                                │
//!                                rejects_file, summary <─ book <─┘
//! ```
//!
//! A caller goes through it in four steps: [`OrderFile::read`], [`Import::begin`], [`Import::plan`] and
//! [`PlannedImport::run`]. Only the last one sends operations.
//!
//! The plan follows from the file, the options, the shards, and what other files brought before. That is why
//! an import can be interrupted anywhere and run any number of times. `docs/import-orders.md` says what
//! happens to each kind of row.
//!
//! The engine does not print, and knows no signals. It reports its progress as [`Notice`]s, a [`Stop`] ends
//! it early, and archived changes come from a function of the caller ([`ArchivedChanges`]).
//!
//! - The file, its options and its places: `order_file`, `options`, `paths`. `begin` ties them together.
//! - What earlier imports did: `look_back`, with `applied` (the change stream), `state` (the state file) and
//!   `known` (documents that other files brought).
//! - The plan: `plan`, with `matching`, `initial_stock` and `steps`.
//! - The run: `drive`, with `run`, `waves`, `kinds`, `requests` and `target`.
//! - The result: `book`, `rejects_file`, `summary`. `identity` makes the operation ids.
//!
//! Start reading in `plan.rs`, then `waves.rs`.

mod applied;
mod begin;
mod book;
mod drive;
mod error;
mod files;
mod identity;
mod initial_stock;
mod kinds;
mod known;
mod look_back;
mod matching;
mod notice;
mod options;
mod order_file;
mod paths;
mod plan;
mod rejects_file;
mod requests;
mod run;
mod state;
mod steps;
mod stop;
mod summary;
mod target;
#[cfg(test)]
mod tests;
mod waves;

pub use applied::{ArchiveFailure, ArchivedChanges, ScanError};
pub use begin::{Import, PlannedImport};
pub use book::{Operations, Units};
pub use drive::Ended;
pub use error::{ImportError, RunError};
pub use initial_stock::{InitialStock, InitialStockError};
pub use notice::{Notice, Tell};
pub use options::{ImportOptions, OptionsError};
pub use order_file::{OrderFile, OrderFileError};
pub use paths::ImportFiles;
pub use rejects_file::RejectsFileError;
pub use state::StateError;
pub use stop::Stop;
pub use summary::Summary;
