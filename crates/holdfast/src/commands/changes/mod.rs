//! `holdfast changes`: reads the change stream, and registers who reads it.

mod consumers;
mod export;
pub(crate) mod older;
mod positions;
pub(crate) mod streams;
mod tail;

use clap::Subcommand;

use crate::context::Context;

/// Arguments of `holdfast changes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  holdfast changes tail --follow
  holdfast changes export --to ./lake --format parquet
  holdfast changes positions
  holdfast changes consumers list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Subcommands of `holdfast changes`.
#[derive(Debug, Subcommand)]
enum Action {
    /// Print changes, one JSON line each
    Tail(tail::Args),
    /// Write changes to files of a folder or an object store; the next run continues there
    Export(export::Args),
    /// Show where the stream of each shard begins and ends
    Positions(positions::Args),
    /// Show and register the consumers for which nodes keep changes
    Consumers(consumers::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.action {
        Action::Tail(args) => tail::run(args, context).await,
        Action::Export(args) => export::run(args, context).await,
        Action::Positions(args) => positions::run(args, context).await,
        Action::Consumers(args) => consumers::run(args, context).await,
    }
}
