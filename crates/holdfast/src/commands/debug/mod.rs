//! `holdfast debug`: collects what helps to find a fault.

mod archive;
mod bundle;
mod gather;

use clap::Subcommand;

use crate::context::Context;

/// Arguments of `holdfast debug`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast debug bundle --config /etc/holdfast/node.toml --output holdfast-1.tar.gz"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: DebugCommand,
}

#[derive(Debug, Subcommand)]
enum DebugCommand {
    /// Collect what is known about a node in one file, for people who look for a fault
    Bundle(bundle::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        DebugCommand::Bundle(args) => bundle::run(args, context).await,
    }
}
