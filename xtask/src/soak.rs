//! `cargo xtask soak`: whole clusters under faults in one thread, seed after seed.

use anyhow::Result;

use crate::steps;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run seeds for this many minutes
    #[arg(long, default_value_t = 1, conflicts_with_all = ["seeds", "seed"])]
    minutes: u64,
    /// Run this many seeds
    #[arg(long, conflicts_with = "seed")]
    seeds: Option<u64>,
    /// Begin with this seed
    #[arg(long, default_value_t = 1, conflicts_with = "seed")]
    first_seed: u64,
    /// Run only this seed, which a failure names
    #[arg(long)]
    seed: Option<u64>,
    /// Print every event of the runs on standard error
    #[arg(long)]
    trace: bool,
    /// Print the sums as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut command = steps::cargo();
    // The simulation's folder has settings of its own. Cargo looks for settings in the folder in which it is
    // started.
    command.current_dir(steps::root().join("tests/simulation"));
    command.args(["run", "--quiet", "--"]);
    let numbers = [
        ("--seed", args.seed),
        ("--seeds", args.seeds),
        (
            "--minutes",
            args.seeds.or(args.seed).is_none().then_some(args.minutes),
        ),
        ("--first-seed", args.seed.is_none().then_some(args.first_seed)),
    ];
    for (name, number) in numbers {
        command.args(number.map(|number| format!("{name}={number}")));
    }
    if args.trace {
        command.arg("--trace");
    }
    if args.json {
        command.arg("--json");
    }
    steps::say("building the simulation");
    steps::run(&mut command)
}
