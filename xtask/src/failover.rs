//! `cargo xtask failover`: how long buyers wait when a leader is killed or paused.

use anyhow::Result;

use crate::{chaos, steps};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often a leader is killed or paused, for each kind
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    times: u16,
    /// Only this kind (may be given again): killed, paused or all-killed; killed and paused when left out
    #[arg(long = "kind", value_parser = ["killed", "paused", "all-killed"])]
    kinds: Vec<String>,
    /// Threads that keep the processors busy meanwhile
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1024))]
    load: u16,
    /// Threads that each node serves with; by default as many as there are processors. `holdfast dev` gives
    /// each node its share
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Fail if more terms began than leaders were killed or paused
    #[arg(long)]
    strict: bool,
    /// Print one JSON object for each kind
    #[arg(long)]
    json: bool,
    /// Build without optimizations: the build is faster, the nodes are slower
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    steps::say("building Holdfast and its buyers");
    let folder = chaos::build(!args.debug)?;
    let mut failover = std::process::Command::new(folder.join("failover"));
    failover
        .args(["--times", &args.times.to_string()])
        .args(["--load", &args.load.to_string()])
        .env("HOLDFAST_BINARY", folder.join("holdfast"));
    for kind in &args.kinds {
        failover.args(["--kind", kind]);
    }
    if let Some(threads) = args.threads {
        failover.args(["--threads", &threads.to_string()]);
    }
    for (given, flag) in [(args.strict, "--strict"), (args.json, "--json")] {
        if given {
            failover.arg(flag);
        }
    }
    steps::say("three nodes and buyers, whose leader is killed or paused again and again");
    steps::run(&mut failover)
}
