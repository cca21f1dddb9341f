//! Changes as Parquet: one row for each change, in the columns of [`schema`].

pub mod schema;

mod effects;
mod read;
mod write;

#[cfg(test)]
mod tests;

pub use read::{DecodeError, Decoder, decode};
pub use write::{EncodeError, encode};
