//! The commands. Each is a module with an `Args` and
//! `pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()>`.

mod changes;
mod explain;
mod import;
mod verify;

use clap::Subcommand;

use crate::context::Context;

/// All commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read the change stream: tail it or export it
    Changes(changes::Args),
    /// Replay the change streams and prove that nothing was oversold, lost or doubled
    Verify(verify::Args),
    /// Tell every decision about one reservation
    Explain(explain::Args),
    /// Replay a shop's orders
    Import(import::Args),
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Changes(args) => changes::run(args, context).await,
            Self::Verify(args) => verify::run(args, context).await,
            Self::Explain(args) => explain::run(args, context).await,
            Self::Import(args) => import::run(args, context).await,
        }
    }
}
