//! `holdfast archive`: proves an archive of changes from its files, and rebuilds the stock from it.

mod drill;
mod verify;

use clap::Subcommand;

use crate::context::Context;

/// Arguments of `holdfast archive`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "`holdfast changes export` writes an archive. docs/archive.md describes its files. An object store takes its
credentials, region and endpoint from the AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT
variables (AWS_ALLOW_HTTP=true for http).

Examples:
  holdfast archive verify --archive s3://bucket/lake
  holdfast archive drill --archive s3://bucket/lake"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: ArchiveCommand,
}

#[derive(Debug, Subcommand)]
enum ArchiveCommand {
    /// Prove from the files alone that nothing is missing, changed or out of order
    Verify(verify::Args),
    /// Rebuild all quantities from the archive, and compare them with the running cluster
    Drill(drill::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        ArchiveCommand::Verify(args) => verify::run(&args, context).await,
        ArchiveCommand::Drill(args) => drill::run(&args, context).await,
    }
}
