//! `holdfast config`: checks and explains a node's configuration.

use std::path::PathBuf;

use clap::Subcommand;
use holdfast_node::config::{self, LoadedConfig};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast config`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast config check node-1.toml\n  holdfast config reference > node-1.toml\n  holdfast config schema > holdfast.schema.json"
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
    /// Print the JSON Schema of the file: keys, types, ranges, defaults, for editors and other programs
    Schema(SchemaArgs),
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

#[derive(Debug, clap::Args)]
#[command(
    after_help = "JSON Schema knows no times and no sizes. A key that is one has x-unit, and x-minimum and x-maximum in place of minimum and maximum. x-old-key is the old spelling of a key.\n\nExamples:\n  holdfast config schema > holdfast.schema.json"
)]
struct SchemaArgs {}

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
        ConfigCommand::Schema(SchemaArgs {}) => {
            if context.json {
                context.output.json(config::schema())?;
            } else {
                context
                    .output
                    .line(serde_json::to_string_pretty(config::schema())?)?;
            }
            Ok(())
        }
    }
}

fn check(args: &CheckArgs, context: &Context) -> anyhow::Result<()> {
    let LoadedConfig {
        config,
        old_spellings,
    } = LoadedConfig::load(&args.file)?;
    let hints: Vec<String> = old_spellings.iter().map(ToString::to_string).collect();
    if context.json {
        context
            .output
            .json(&json!({ "ok": true, "config": config, "hints": hints }))?;
        return Ok(());
    }
    for hint in hints {
        context.output.note(hint);
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
