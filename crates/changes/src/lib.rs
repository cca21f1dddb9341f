//! Consuming the change stream: cursors, sinks, verification.

pub mod archive;
pub mod cursor;
pub mod explain;
pub mod json;
pub mod names;
pub mod parquet;
pub mod verify;

#[cfg(test)]
mod arbitrary;
