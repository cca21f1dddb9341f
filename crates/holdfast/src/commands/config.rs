//! `holdfast config`: checks and explains a node's configuration.

use std::path::PathBuf;

use clap::Subcommand;
use holdfast_node::{NodeConfig, config};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast config`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast config check node-1.toml\n  holdfast config reference > node-1.toml"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Check a file, with the overrides of this environment, and say what is wrong
    Check(CheckArgs),
    /// Print every key with its meaning and default, as a file to start from
    Reference(ReferenceArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "This checks only the file, on any machine. `holdfast doctor`, on the node's own machine, checks certificates, ports, disk and the other nodes.\n\nExamples:\n  holdfast config check node-1.toml"
)]
struct CheckArgs {
    /// Configuration file to check
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast config reference > node-1.toml")]
struct ReferenceArgs {}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        ConfigCommand::Check(args) => check(&args, context),
        ConfigCommand::Reference(ReferenceArgs {}) => {
            if context.json {
                context
                    .output
                    .json(&json!({ "reference": config::reference() }))?;
            } else {
                context.output.line(config::reference().trim_end())?;
            }
            Ok(())
        }
    }
}

fn check(args: &CheckArgs, context: &Context) -> anyhow::Result<()> {
    let config = NodeConfig::load(&args.file)?;
    if context.json {
        context.output.json(&json!({ "ok": true, "config": config }))?;
        return Ok(());
    }
    context.output.line(format!(
        "{} is valid: node {} of {}, {} shards, clients at {}, data in {}",
        args.file.display(),
        config.node.node_id,
        config.cluster_nodes().len(),
        config.shards.count,
        config.listen.client,
        config.node.data_dir.display(),
    ))?;
    Ok(())
}
