//! `holdfast bench`: puts load on a cluster and measures it.

use clap::Subcommand;

use crate::context::Context;

mod buyers;

/// Arguments of `holdfast bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast bench buyers --buyers 200 --duration 30s")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BenchCommand,
}

#[derive(Debug, Subcommand)]
enum BenchCommand {
    /// Many buyers at once, each reserving, and some of them paying, changing their mind or being shipped to
    Buyers(buyers::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        BenchCommand::Buyers(args) => buyers::run(args, context).await,
    }
}
