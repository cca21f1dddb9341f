//! Consuming the change stream: cursors, sinks, verification.

pub mod archive;
pub mod cursor;
pub mod json;
pub mod names;
pub mod parquet;

#[cfg(test)]
mod arbitrary;
