//! `holdfast backup`: copies of the whole cluster in an object store, and a new cluster from one of them.

mod create;
mod cut_archive;
mod list;
mod restore;
mod verify;

use clap::Subcommand;

use crate::context::Context;

/// Arguments of `holdfast backup`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "An object store takes its credentials, region and endpoint from the AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_REGION and AWS_ENDPOINT variables (AWS_ALLOW_HTTP=true for http).

Examples:
  holdfast backup create --to s3://bucket/holdfast
  holdfast backup list --from s3://bucket/holdfast
  holdfast backup verify --from s3://bucket/holdfast --name 20261121T093000Z
  holdfast backup restore --from s3://bucket/holdfast --name 20261121T093000Z --config node-1.toml"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: BackupCommand,
}

#[derive(Debug, Subcommand)]
enum BackupCommand {
    /// Copy all shards of a running cluster as they are at one moment
    Create(create::Args),
    /// List the backups in a folder or an object store
    List(list::Args),
    /// Read all of a backup and say whether it can be restored
    Verify(verify::Args),
    /// Copy an archive of changes up to a backup, so that the restored cluster can continue it
    CutArchive(cut_archive::Args),
    /// Begin a new cluster with a backup: once for each node, before its first start
    Restore(restore::Args),
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        BackupCommand::Create(args) => create::run(args, context).await,
        BackupCommand::List(args) => list::run(args, context).await,
        BackupCommand::Verify(args) => verify::run(args, context).await,
        BackupCommand::CutArchive(args) => cut_archive::run(args, context).await,
        BackupCommand::Restore(args) => restore::run(args, context).await,
    }
}
