//! `holdfast sinks rebuild`: builds a sink's data again beside the live one.

use std::time::Duration;

use holdfast_sinks::config::SinkConfig;
use holdfast_sinks::redis::RedisSink;

use super::progress::{progress, show};
use super::{ConfigArg, compare};
use crate::arguments::duration;
use crate::context::Context;
use crate::failure::Usage;

/// Arguments of `holdfast sinks rebuild`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The new view is read from the ledger, cell by cell, follows the changes since then, and is compared with the ledger.
Only if nothing differs does it become live, at once for all readers. Runners and readers go on meanwhile.

Examples:
  holdfast sinks rebuild --config sinks.toml --sink product-pages"
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
    /// How long the older view stays for readers that still use it
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    keep_old: Duration,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let (config, cluster) = super::cluster(&args.config, context).await?;
    let mut redis = config.sinks.iter().filter_map(|(name, sink)| match sink {
        SinkConfig::Redis(sink) => Some((name, sink)),
        _ => None,
    });
    let (Some((name, sink)), None) = (redis.next(), redis.next()) else {
        let message =
            "name one sink of type redis with --sink: other sinks are delivered again with `sinks replay`";
        return Err(Usage(message.to_owned()).into());
    };
    let shard_count = u32::try_from(cluster.shards.len())?;
    let sink = RedisSink::new(name, sink.clone(), cluster.cluster_id, shard_count)?;
    let bar = progress();
    let rebuilt = sink
        .rebuild(&cluster, args.keep_old, &|step| show(&bar, step))
        .await?;
    bar.finish_and_clear();
    if context.json {
        context.output.json(&rebuilt)?;
    } else {
        let output = context.output;
        compare::print(&rebuilt.comparison, output)?;
        if rebuilt.live {
            output.line(format!(
                "generation {} is live: {} cells; {} keys of older ones removed",
                rebuilt.generation, rebuilt.cells, rebuilt.removed_keys
            ))?;
        }
    }
    anyhow::ensure!(
        rebuilt.live,
        "generation {} did not become live: it differs from the ledger, or another rebuild began",
        rebuilt.generation
    );
    Ok(())
}
