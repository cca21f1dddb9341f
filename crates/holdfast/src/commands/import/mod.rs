//! `holdfast import`: brings the data of other systems into the ledger.

mod orders;

use clap::Subcommand;

use crate::context::Context;

/// Arguments of `holdfast import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast import orders orders.csv")]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Import,
}

/// Kinds of data that can be imported.
#[derive(Debug, Subcommand)]
enum Import {
    /// A shop's order lines, as reservations, commits, shipments, cancellations, returns and adjustments
    Orders(orders::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        Import::Orders(args) => orders::run(args, context).await,
    }
}
