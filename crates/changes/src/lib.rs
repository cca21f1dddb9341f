//! Consuming the change stream: cursors, sinks, verification.

pub mod names;
pub mod parquet;
