//! `holdfast sinks`: brings changes to systems outside.

mod compare;
mod progress;
mod rebuild;
mod run;
mod status;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use holdfast_sinks::config::Config;
use holdfast_sinks::make;
use holdfast_sinks::runner::{Cluster, NamedSink};

use super::changes::streams;
use crate::context::Context;
use crate::failure::Usage;

/// Arguments of `holdfast sinks`.
#[derive(Debug, clap::Args)]
#[command(after_help = "The configuration names each sink, and where its secrets are:

  [sinks.product-pages]
  type = \"redis\"
  url = \"redis://redis.internal:6379\"
  password = { file = \"/run/secrets/redis\" }    # or { env = \"REDIS_PASSWORD\" }

Examples:
  holdfast sinks run --config sinks.toml
  holdfast sinks status --config sinks.toml
  holdfast sinks rebuild --config sinks.toml --sink product-pages
  holdfast sinks compare --config sinks.toml")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Subcommands of `holdfast sinks`.
#[derive(Debug, Subcommand)]
enum Action {
    /// Deliver changes to all sinks until stopped
    Run(run::Args),
    /// Show how far each sink is, and what it lacks
    Status(status::Args),
    /// Build a view in Redis again from the ledger, beside the live one, and switch over
    Rebuild(rebuild::Args),
    /// Compare what sinks have with the ledger
    Compare(compare::Args),
}

/// The file that names the sinks.
#[derive(Debug, clap::Args)]
struct ConfigArg {
    /// File that names the sinks
    #[arg(long, env = "HOLDFAST_SINKS_CONFIG", value_name = "FILE")]
    config: PathBuf,
    /// Only this sink; may be given several times
    #[arg(long = "sink", value_name = "NAME")]
    only: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.action {
        Action::Run(args) => run::run(args, context).await,
        Action::Status(args) => status::run(args, context).await,
        Action::Rebuild(args) => rebuild::run(args, context).await,
        Action::Compare(args) => compare::run(args, context).await,
    }
}

/// Reads the configuration, and keeps the sinks that were asked for.
fn read_config(path: &Path, only: &[String]) -> anyhow::Result<Config> {
    let mut config = Config::read(path)?;
    for name in only {
        if !config.sinks.contains_key(name) {
            let known: Vec<&str> = config.sinks.keys().map(String::as_str).collect();
            let message = format!(
                "there is no sink {name}; {} has {}",
                path.display(),
                known.join(", ")
            );
            return Err(Usage(message).into());
        }
    }
    config
        .sinks
        .retain(|name, _| only.is_empty() || only.contains(name));
    Ok(config)
}

/// Reads the configuration, and finds the cluster.
async fn cluster(args: &ConfigArg, context: &Context) -> anyhow::Result<(Config, Cluster)> {
    let config = read_config(&args.config, &args.only)?;
    let client = context.client()?;
    let (positions, cluster_id) = streams::positions_and_cluster(client, None).await?;
    let cluster = Cluster {
        client: client.clone(),
        cluster_id,
        shards: positions.iter().map(|position| position.shard).collect(),
    };
    Ok((config, cluster))
}

/// Reads the configuration, and makes its sinks for the cluster.
async fn open(args: &ConfigArg, context: &Context) -> anyhow::Result<(Config, Cluster, Vec<NamedSink>)> {
    let (config, cluster) = cluster(args, context).await?;
    let sinks = make::sinks(&config, &cluster)?;
    Ok((config, cluster, sinks))
}
