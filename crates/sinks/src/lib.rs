//! Changes leave the cluster: one runner brings them to every sink.
//!
//! ```text
//!                      ┌─ shard 0 ─> Writer ──> Redis      position and data move in one script
//!  TailChanges ─> runner  shard 1 ─> Writer ──> Kafka      position is read back from the topic
//!  (any replica)       └─ shard 2 ─> Writer ──> Snowflake  position is the channel's offset token
//!                                           └─> archive    position is the manifest
//! ```
//!
//! The runner keeps nothing. A sink's position is in its target, and moves there in the same atomic step as
//! the data. So the runner may be killed at any moment, run twice, and move to another machine. It begins
//! where the target is.
//!
//! - [`sink`] is what every sink can do ([`sink::Sink`], [`sink::Writer`]), and what can go wrong.
//! - [`config`] reads `sinks.toml`. Secrets are named there by file or environment variable, never written.
//! - [`runner`] has one task for each shard of each sink. A sink that is down or says no stops alone.
//! - [`make`] makes sinks from their configuration.
//! - [`http`] serves metrics and readiness.
//! - [`status`] is what the runner knows of each of them: state, position, lag.
//! - [`archive`] keeps every change, in files that prove themselves.
//! - [`kafka`] writes records into topics.
//! - [`redis`] keeps what product pages read: cells, and what each storefront can sell.
//! - [`snowflake`] streams rows into a table of Snowflake.
//!
//! Start reading in `sink.rs`, then `runner/shard.rs`.

pub mod archive;
mod clock;
pub mod config;
mod ends;
mod entries;
pub mod http;
pub mod kafka;
pub mod make;
mod metrics;
pub mod redis;
pub mod runner;
pub mod settings;
pub mod sink;
pub mod snowflake;
pub mod status;
