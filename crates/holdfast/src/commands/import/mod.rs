//! `holdfast import`.

use crate::context::Context;

/// Arguments of `holdfast import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast import orders orders.csv")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> anyhow::Result<()> {
    anyhow::bail!("this command is not there yet")
}
