//! `cargo xtask chaos`: faults on real processes, round after round.

use std::path::PathBuf;

use anyhow::Result;

use crate::{needs, steps};

/// Shell command that starts a program in a new network, where the loopback device is down at first. The
/// program follows as arguments.
const IN_OWN_NETWORK: &str = "ip link set lo up && exec \"$0\" \"$@\"";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run rounds for this many minutes; the last one is finished
    #[arg(long, default_value_t = 2, conflicts_with = "seed")]
    minutes: u64,
    /// Run only the round of this seed, which a failure names
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes a cluster has, 3 to 7; with 3 no replica can move
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Only this fault (may be given again for more), by its name in the report; all faults otherwise
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<String>,
}

/// Builds the nodes and the programs that harass them. Returns the folder of the programs.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    let mut build = steps::cargo();
    build.args([
        "build",
        "--bins",
        "--package",
        "holdfast",
        "--package",
        "holdfast-tests",
    ]);
    if release {
        build.arg("--release");
    }
    steps::run(&mut build)?;
    Ok(steps::target().join(if release { "release" } else { "debug" }))
}

pub(crate) fn run(args: &Args) -> Result<()> {
    steps::say("building Holdfast and what harasses it");
    let folder = build(false)?;
    let mut words: Vec<String> = Vec::new();
    if needs::faults() {
        // In a network of its own, the run can lose packets without harm to other programs.
        words.extend(["unshare", "--net", "sh", "-c", IN_OWN_NETWORK].map(str::to_owned));
    }
    words.push(folder.join("chaos").display().to_string());
    let (what, number) = match args.seed {
        Some(seed) => ("--seed", seed),
        None => ("--minutes", args.minutes),
    };
    words.extend([what.to_owned(), number.to_string()]);
    words.extend(["--nodes".to_owned(), args.nodes.to_string()]);
    for fault in &args.faults {
        words.extend(["--fault".to_owned(), fault.clone()]);
    }
    let mut chaos = std::process::Command::new(&words[0]);
    chaos
        .args(&words[1..])
        .env("HOLDFAST_BINARY", folder.join("holdfast"));
    steps::say("nodes, buyers, and one fault after another");
    steps::run(&mut chaos)
}
