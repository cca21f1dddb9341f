//! `holdfast explain`.

use crate::context::Context;

/// Arguments of `holdfast explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast explain 01936f3e-6a00-7000-8000-000000000000")]
pub(crate) struct Args {}

pub(crate) async fn run(_args: Args, _context: &Context) -> anyhow::Result<()> {
    anyhow::bail!("this command is not there yet")
}
