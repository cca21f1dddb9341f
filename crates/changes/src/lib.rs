//! Consuming the change stream: what is behind the ledger reads it through here.
//!
//! Every mutation of a shard leaves as changes, numbered 1, 2, 3, ... without a gap
//! (`proto/holdfast/v1/changes.proto`). The changes of one log entry come together or not at all. Delivery is at
//! least once, and `(shard, seq)` makes it exactly once:
//!
//! ```text
//!   TailChanges ──> cursor ──┬──> archive ──> parquet | json   files written once, for the warehouse
//!    (client)       gap? error├──> json                         lines for people and pipes
//!                   again? drop├──> explain                     the life of one reservation
//!                              └──> verify                      was anything oversold, lost, doubled?
//!                archive, then stream ──> as_of                  how did a cell or a reservation stand?
//! ```
//!
//! - [`cursor`] is where a consumer stands, durably. It lets whole entries through, each once.
//! - [`archive`] keeps all changes in an object store, in files named by shard and range. The names are the index:
//!   whoever goes on lists them, proves that nothing is missing, and writes the next one.
//! - [`parquet`] is the format for the warehouse. [`parquet::schema`] is the contract with the models in
//!   `warehouse/`: columns are only ever added, at the end.
//! - [`json`] is the same change as a line, under the names of the proto.
//! - [`names`] are the words for kinds, buckets and states in all of these.
//! - [`verify`] replays streams by arithmetic of its own and shares nothing with the ledger but the contract, so that
//!   a fault in the ledger cannot hide in it.
//! - [`as_of`] reads an archive to a moment, so that a stream can go on behind it; `holdfast-history` adds up.
//! - [`explain`] tells what happened to a reservation in sentences.
//!
//! Nothing here opens a connection: the callers (`holdfast changes`, `verify`, `explain`) bring the messages of
//! `holdfast-client` as they come. What is read is judged, never trusted: garbage gives an error or a finding, not a
//! panic.
//!
//! Start reading in `cursor.rs`, then `archive/mod.rs`; `verify/mod.rs` has a map of its own.

pub mod archive;
pub mod as_of;
pub mod cursor;
pub mod explain;
pub mod json;
pub mod names;
pub mod parquet;
pub mod verify;

#[cfg(test)]
mod arbitrary;
