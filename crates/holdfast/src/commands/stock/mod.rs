//! `holdfast stock`: commands for the warehouse.

mod generate;
mod mutate;
mod plans;
mod read;

use clap::Subcommand;

use crate::context::Context;

/// Arguments of `holdfast stock`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock receive SHIRT-1 --warehouse LONDON --quantity 100 --reference delivery-4711\n  holdfast stock get SHIRT-1"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: StockCommand,
}

#[derive(Debug, Subcommand)]
enum StockCommand {
    /// Book goods that arrive: on hand and free grow
    Receive(mutate::ReceiveArgs),
    /// Correct a cell up or down; a reason is required
    Adjust(mutate::AdjustArgs),
    /// Record a recount, as of now or as of a change sequence number
    Count(mutate::CountArgs),
    /// Move units between free, safety, damaged and quality hold
    Move(mutate::MoveArgs),
    /// Set what a storefront may do with a SKU: the whole stock policy, so what is not named gets its default
    Policy(mutate::PolicyArgs),
    /// Set the size of a storefront's pool
    Pool(mutate::PoolArgs),
    /// Set how much a supply will still bring to a cell, and when
    Expect(plans::ExpectArgs),
    /// Show what is expected of one SKU
    Supplies(plans::SuppliesArgs),
    /// List the cells that have less than was promised, and the reservations that are affected
    Deficits(plans::DeficitsArgs),
    /// Show the cells of one SKU
    Get(read::GetArgs),
    /// List every cell of the cluster
    List(read::ListArgs),
    /// Stock a generated catalogue, for load tests
    Generate(generate::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        StockCommand::Receive(args) => mutate::receive(args, context).await,
        StockCommand::Adjust(args) => mutate::adjust(args, context).await,
        StockCommand::Count(args) => mutate::count(args, context).await,
        StockCommand::Move(args) => mutate::move_bucket(args, context).await,
        StockCommand::Policy(args) => mutate::set_policy(args, context).await,
        StockCommand::Pool(args) => mutate::allocate_pool(args, context).await,
        StockCommand::Expect(args) => plans::expect(args, context).await,
        StockCommand::Supplies(args) => plans::supplies(args, context).await,
        StockCommand::Deficits(args) => plans::deficits(args, context).await,
        StockCommand::Get(args) => read::get(args, context).await,
        StockCommand::List(args) => read::list(args, context).await,
        StockCommand::Generate(args) => generate::run(args, context).await,
    }
}
