//! Readers of the change stream. Everything behind the ledger uses this crate.
//!
//! A shard publishes every mutation as changes, numbered 1, 2, 3, ... without a gap
//! (`proto/holdfast/v1/changes.proto`). The changes of one log entry come together or not at all. Delivery is
//! at least once, and `(shard, seq)` makes it exactly once:
//!
//! ```text
//!   TailChanges ──> cursor ──┬──> archive ──> parquet | json   files written once, for the warehouse
//!    (client)       gap? error├──> json                         lines for people and pipes
//!                   again? drop├──> explain                     the life of one reservation
//!                              └──> verify                      was anything oversold, lost, doubled?
//!                archive, then stream ──┬──> as_of               how was a cell or a reservation?
//!                                       └──> drill               is all stock in the archive?
//! ```
//!
//! - [`cursor`] keeps the position of a consumer durably. It lets each whole entry through once.
//! - [`archive`] keeps all changes in an object store, in files named by their content. A manifest whose
//!   entries carry the hash of the one before is the index, and proves that nothing is missing or changed.
//! - [`drill`] rebuilds the stock of a shard from its changes, and compares it with the live one.
//! - [`parquet`] is the format for the warehouse. [`parquet::schema`] is the contract with the models in
//!   `warehouse/`: columns are only ever added, at the end.
//! - [`json`] is the same change as a line, with the field names of the proto.
//! - [`names`] has the words for kinds, buckets and states in all of these.
//! - [`verify`] replays streams by its own arithmetic. It shares only the contract with the ledger, so a
//!   fault in the ledger cannot hide in it.
//! - [`as_of`] reads an archive up to a moment. `holdfast-history` adds up what it read, and a stream can
//!   continue from there.
//! - [`explain`] tells the story of a reservation in sentences.
//!
//! Nothing here opens a connection. The callers (`holdfast changes`, `verify`, `explain`) pass in the
//! messages of `holdfast-client`. All input is checked and never trusted: garbage causes an error or a
//! finding, not a panic.
//!
//! Start reading in `cursor.rs`, then `archive/mod.rs`. `verify/mod.rs` has a map of its own.

pub mod archive;
pub mod as_of;
pub mod cursor;
pub mod drill;
pub mod explain;
pub mod json;
pub mod names;
pub mod parquet;
pub mod verify;

#[cfg(test)]
mod arbitrary;
