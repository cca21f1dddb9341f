//! History: a cell or a reservation as it was after one change of its shard, added up from the first change
//! on.
//!
//! ```text
//!   change 1, 2, 3, ... ──> Reading ──> Stock          one SKU: its cells
//!                              │   ├──> Reservation    one reservation: its lines, each unit in one place
//!                              │   └──> ShardStock     all cells of the shard
//!                              └── in sequence? still at or before the moment?
//! ```
//!
//! A [`Reading`] gets every change of one shard, in order, from the first one up to the requested moment
//! ([`At`]). It takes each change once, refuses a gap, and knows when the moment is passed. The node feeds it
//! from its change log. The command line feeds it from an archive, and then from a stream.
//!
//! This crate does its own arithmetic and shares none with the ledger. The units of a bucket before a change,
//! plus its delta in the change, must be the after-image. If they are not, the history proves nothing and the
//! answer is a [`Fault`]. The arithmetic looks only at the buckets that moved, never at the kind of a change.
//! So a kind that is added later is added up like the others.
//!
//! Memory holds the cells of the one SKU, or the lines of the one reservation and the cells that they touch;
//! for a whole shard, all its cells.
//!
//! Start reading in `reading.rs`.

mod image;
mod reading;
mod reservation;
mod shard_stock;
mod stock;

#[cfg(test)]
mod tests;

pub use reading::{AsOfError, At, Fault, Reading, Subject};
pub use reservation::Reservation;
pub use shard_stock::ShardStock;
pub use stock::Stock;
