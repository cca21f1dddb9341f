//! `cargo xtask bench`: Holdfast beside what a user would pick instead, in one run.

use anyhow::Result;

use crate::{needs, steps};

/// Seconds of each measurement of a quick run.
const QUICK_SECONDS: u64 = 3;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Shorter measurements: the whole run within five minutes, the build not counted
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    needs::database_servers()?;
    steps::say("building Holdfast and the comparison, optimized");
    let mut build = steps::cargo();
    build.args(["build", "--release", "--bins"]);
    build.args(["--package", "holdfast", "--package", "holdfast-benchmarks"]);
    steps::run(&mut build)?;
    steps::say("measuring: each system alone, one after another");
    let seconds = if args.quick { QUICK_SECONDS } else { args.seconds };
    let target = steps::root().join("target");
    let mut compare = std::process::Command::new(target.join("release/compare"));
    compare.arg("--binary").arg(target.join("release/holdfast"));
    compare.arg("--folder").arg(&target);
    compare.args(["--seconds", &seconds.to_string()]);
    if args.json {
        compare.arg("--json");
    }
    steps::run(&mut compare)
}
