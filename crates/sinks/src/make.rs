//! Sinks made from their configuration.

use std::sync::Arc;

use crate::config::{Config, ConfigError, SinkConfig};
use crate::redis::RedisSink;
use crate::runner::{Cluster, NamedSink};
use crate::sink::Sink;

/// Makes every sink of a configuration, for a cluster. Connects to nothing.
///
/// # Errors
/// [`ConfigError`]: a sink cannot work as it is configured, or a secret cannot be read.
pub fn sinks(config: &Config, cluster: &Cluster) -> Result<Vec<NamedSink>, ConfigError> {
    let sinks = config.sinks.iter();
    sinks
        .map(|(name, config)| {
            Ok(NamedSink {
                name: name.clone(),
                sink: sink(name, config, cluster)?,
            })
        })
        .collect()
}

fn sink(name: &str, config: &SinkConfig, cluster: &Cluster) -> Result<Arc<dyn Sink>, ConfigError> {
    let shard_count = u32::try_from(cluster.shards.len()).unwrap_or(u32::MAX);
    Ok(match config {
        SinkConfig::Redis(config) => Arc::new(RedisSink::new(
            name,
            config.clone(),
            cluster.cluster_id,
            shard_count,
        )?),
        SinkConfig::Snowflake(config) => crate::snowflake::sink(name, cluster.cluster_id, config)?,
    })
}
