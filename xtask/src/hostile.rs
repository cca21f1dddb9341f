//! `cargo xtask hostile`: the cost of hostile callers for a cluster and its honest callers.

use anyhow::Result;

use crate::{chaos, steps};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many minutes all floods together take
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// Threads that each node serves with; by default as many as there are processors
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Only this flood (may be given again), by its printed name
    #[arg(long = "flood")]
    floods: Vec<String>,
    /// Print one JSON object for each flood
    #[arg(long)]
    json: bool,
    /// Build without optimizations: the build is faster, the nodes are slower
    #[arg(long)]
    debug: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    steps::say("building Holdfast and its callers");
    let folder = chaos::build(!args.debug)?;
    let mut hostile = std::process::Command::new(folder.join("hostile"));
    hostile
        .args(["--minutes", &args.minutes.to_string()])
        .env("HOLDFAST_BINARY", folder.join("holdfast"));
    if let Some(threads) = args.threads {
        hostile.args(["--threads", &threads.to_string()]);
    }
    for flood in &args.floods {
        hostile.args(["--flood", flood]);
    }
    if args.json {
        hostile.arg("--json");
    }
    steps::say("three nodes, honest buyers, and callers that send what no client should");
    steps::run(&mut hostile)
}
