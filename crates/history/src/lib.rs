//! How things stood: a cell or a reservation after one change of its shard, added up from the first change on.
//!
//! ```text
//!   change 1, 2, 3, ... ──> Reading ──> Stock          one SKU: its cells
//!                              │   └──> Reservation    one reservation: its lines, each unit in one place
//!                              └── in sequence? still at or before the moment?
//! ```
//!
//! A [`Reading`] is told every change of one shard, in order, from the first one to the moment asked for ([`At`]). It takes each
//! once, refuses a gap, and knows when the moment is passed. The node feeds it from its change log, the command line
//! from an archive that is continued by a stream.
//!
//! The arithmetic is its own: what a bucket held before, plus what the change says it moved, has to be the after-image.
//! Where it is not, the history proves nothing and the answer is a [`Fault`]. It goes by the buckets that moved and asks no
//! change for its kind, so a kind that comes later is added up like the others.
//!
//! Memory holds the cells of the one SKU, or the lines of the one reservation and the cells that they touch.
//!
//! Start reading in `reading.rs`.

mod image;
mod reading;
mod reservation;
mod stock;

#[cfg(test)]
mod tests;

pub use reading::{AsOfError, At, Fault, Reading, Subject};
pub use reservation::Reservation;
pub use stock::Stock;
