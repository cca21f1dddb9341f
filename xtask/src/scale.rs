//! `cargo xtask scale`: nodes come and go while buyers go on.

use anyhow::Result;

use crate::{chaos, steps};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Buyers at once, each waiting for its answer before it orders again
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    buyers: u16,
    /// Grants that make up a quiet step, and that must follow each change
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    grants: u64,
    /// Seed of the choices of the clients that are checked most strictly
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Build without optimizations: the build is faster, the nodes are slower
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    steps::say("building Holdfast and its buyers");
    let folder = chaos::build(!args.debug)?;
    let mut scale = std::process::Command::new(folder.join("scale"));
    scale
        .args(["--buyers", &args.buyers.to_string()])
        .args(["--grants", &args.grants.to_string()])
        .args(["--seed", &args.seed.to_string()])
        .env("HOLDFAST_BINARY", folder.join("holdfast"));
    steps::say("three nodes, five, another one, three again, restarts, an empty disk");
    steps::run(&mut scale)
}
