//! `holdfast changes`.

use crate::context::Context;

/// Arguments of `holdfast changes`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast changes tail")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> anyhow::Result<()> {
    anyhow::bail!("this command is not there yet")
}
