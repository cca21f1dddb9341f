//! `cargo xtask chaos`: faults on real processes, round after round.

use anyhow::Result;

use crate::steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run rounds for so many minutes; the last one is finished
    #[arg(long, default_value_t = 2, conflicts_with = "seed")]
    minutes: u64,
    /// Run the round of this seed alone, as a failure says
    #[arg(long)]
    seed: Option<u64>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    steps::say("building Holdfast and what harasses it");
    let mut build = steps::cargo();
    build.args([
        "build",
        "--package",
        "holdfast",
        "--package",
        "holdfast-tests",
        "--bins",
    ]);
    steps::run(&mut build)?;
    let folder = steps::target().join("debug");
    let mut chaos = std::process::Command::new(folder.join("chaos"));
    chaos.env("HOLDFAST_BINARY", folder.join("holdfast"));
    match args.seed {
        Some(seed) => chaos.args(["--seed", &seed.to_string()]),
        None => chaos.args(["--minutes", &args.minutes.to_string()]),
    };
    steps::say("three nodes, buyers, and one fault after another");
    steps::run(&mut chaos)
}
