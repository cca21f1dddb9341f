//! `holdfast sinks compare`: compares what sinks have with the ledger.

use holdfast_sinks::config::SinkConfig;
use holdfast_sinks::redis::{Comparison, RedisSink};
use serde_json::json;

use super::ConfigArg;
use super::progress::{progress, show};
use crate::context::Context;
use crate::failure::Usage;
use crate::output::Output;

/// Arguments of `holdfast sinks compare`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Compares each cell of a view in Redis, and what each storefront can sell, with the ledger. Both may go on meanwhile:
a SKU that moves is compared again. Exit code 1 when something differs.

Examples:
  holdfast sinks compare --config sinks.toml
  holdfast sinks compare --config sinks.toml --sink product-pages --json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let (config, cluster) = super::cluster(&args.config, context).await?;
    let shard_count = u32::try_from(cluster.shards.len())?;
    let mut compared = Vec::new();
    for (name, sink) in &config.sinks {
        let SinkConfig::Redis(sink) = sink else { continue };
        let sink = RedisSink::new(name, sink.clone(), cluster.cluster_id, shard_count)?;
        let bar = progress();
        let comparison = sink.compare(&cluster, &|step| show(&bar, step)).await?;
        bar.finish_and_clear();
        compared.push((name, comparison));
    }
    if compared.is_empty() {
        let message =
            "no sink of type redis was named: those are the ones that can be compared with the ledger";
        return Err(Usage(message.to_owned()).into());
    }
    for (name, comparison) in &compared {
        if context.json {
            context
                .output
                .json(&json!({ "sink": name, "comparison": comparison }))?;
        } else {
            context.output.line(format!("sink {name}"))?;
            print(comparison, context.output)?;
        }
    }
    let differences: u64 = compared
        .iter()
        .map(|(_, comparison)| comparison.differences)
        .sum();
    anyhow::ensure!(differences == 0, "{differences} numbers differ from the ledger");
    Ok(())
}

/// Prints a comparison for people.
pub(super) fn print(comparison: &Comparison, output: Output) -> anyhow::Result<()> {
    output.line(format!(
        "{} cells of {} SKUs compared, {} numbers differ",
        comparison.cells, comparison.skus, comparison.differences
    ))?;
    for difference in &comparison.first {
        output.line(format!(
            "  {} {}: ledger {}, Redis {}",
            difference.key,
            difference.field,
            difference
                .ledger
                .map_or("has none".to_owned(), |units| units.to_string()),
            difference.redis.as_deref().unwrap_or("has none")
        ))?;
    }
    Ok(())
}
