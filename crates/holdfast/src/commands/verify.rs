//! `holdfast verify`.

use crate::context::Context;

/// Arguments of `holdfast verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast verify")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> anyhow::Result<()> {
    anyhow::bail!("this command is not there yet")
}
