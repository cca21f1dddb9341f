//! `cargo xtask mutants`: does the model notice a ledger that is wrong?

use anyhow::Result;

use crate::steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many states are looked at at a time.
    #[arg(long, default_value_t = 2)]
    threads: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let threads = args.threads.to_string();
    steps::say("building the model with a ledger that can be wrong");
    let run = [
        "run",
        "--quiet",
        "--package",
        "holdfast-model",
        "--features",
        "faults",
        "--",
    ];
    steps::run(steps::cargo().args(run).args(["--threads", &threads, "mutants"]))
}
