//! `holdfast doctor`: what is wrong with a node, seen from outside.

use std::path::PathBuf;

use crate::context::Context;

/// Arguments of `holdfast doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast doctor --config node-1.toml")]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) async fn run(args: Args, _context: &Context) -> anyhow::Result<()> {
    let _config = holdfast_node::NodeConfig::load(&args.config)?;
    anyhow::bail!("not there yet")
}
