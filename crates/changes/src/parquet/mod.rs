//! Changes as Parquet: one row for each change, in the columns of [`schema`].

pub mod schema;

mod columns;
mod effects;
mod page_checksums;
mod read;
mod row;
mod write;

#[cfg(test)]
mod tests;

pub use columns::DecodeError;
pub use read::{Decoder, decode};
pub use row::EncodeError;
pub use write::{batch, encode};
