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
//! - [`redis`] keeps what product pages read: cells, and what each storefront can sell.
//! - [`snowflake`] streams rows into a table of Snowflake.
//!
//! Start reading in `sink.rs`, then `runner/shard.rs`.

mod clock;
pub mod config;
mod config_error;
mod ends;
pub mod http;
pub mod make;
mod metrics;
pub mod redis;
pub mod runner;
mod secret;
pub mod sink;
pub mod snowflake;
pub mod status;
mod units;
