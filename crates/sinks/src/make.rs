//! Sinks made from their configuration.

use std::sync::Arc;

use crate::archive::ArchiveSink;
use crate::config::{Config, SinkConfig};
use crate::redis::RedisSink;
use crate::runner::{Cluster, NamedSink};
use crate::settings::SettingError;
use crate::sink::Sink;
use crate::snowflake;

/// Makes every sink of a configuration, for a cluster. Connects to nothing.
///
/// # Errors
/// [`SettingError`]: a sink cannot work as it is configured, or a secret cannot be read.
pub fn sinks(config: &Config, cluster: &Cluster) -> Result<Vec<NamedSink>, SettingError> {
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

fn sink(name: &str, config: &SinkConfig, cluster: &Cluster) -> Result<Arc<dyn Sink>, SettingError> {
    let shard_count = u32::try_from(cluster.shards.len()).unwrap_or(u32::MAX);
    Ok(match config {
        SinkConfig::Redis(config) => {
            let sink = RedisSink::new(name, config.clone(), cluster.cluster_id, shard_count)?;
            Arc::new(sink)
        }
        SinkConfig::Snowflake(config) => snowflake::sink(name, cluster.cluster_id, config)?,
        SinkConfig::Archive(config) => Arc::new(ArchiveSink::new(name, config, cluster.clone())?),
    })
}
