//! Measures the cost of hostile callers for a cluster and its honest callers.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Parser;
use holdfast_tests::Timeouts;
use holdfast_tests::hostile::{Flood, Stage};

/// Number of nodes, which are all flooded.
const NODES: usize = 3;
/// Time for which honest callers are measured without a flood.
const QUIET: Duration = Duration::from_secs(10);

/// Floods three nodes in one way after the other, and prints what that cost them and their honest callers
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  cargo xtask hostile --minutes 5\n  cargo xtask hostile --minutes 1 --json"
)]
struct Args {
    /// How many minutes all floods together take
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    minutes: u64,
    /// The threads that a node serves with; by default as many as there are processors
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: Option<u32>,
    /// Only this flood (may be given again), by its printed name
    #[arg(long = "flood")]
    floods: Vec<String>,
    /// Print one JSON object for each flood
    #[arg(long)]
    json: bool,
}

#[tokio::main]
#[allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "this is what the program is for"
)]
async fn main() -> Result<()> {
    let args = Args::parse();
    let end = Instant::now() + Duration::from_secs(60 * args.minutes);
    let is_wanted = |flood: &Flood| {
        args.floods.is_empty() || args.floods.iter().any(|name| *name == format!("{flood:?}"))
    };
    let floods: Vec<Flood> = Flood::ALL.into_iter().filter(is_wanted).collect();
    let known: Vec<String> = Flood::ALL.iter().map(|flood| format!("{flood:?}")).collect();
    ensure!(!floods.is_empty(), "the floods are {}", known.join(", "));
    let each = Duration::from_secs(60 * args.minutes) / floods.len() as u32;
    let mut stage = Stage::set(Timeouts::Usual, args.threads).await?;
    let quiet = stage.quiet(QUIET).await?;
    let mut problems = Vec::new();
    for &flood in floods.iter().cycle() {
        let shown = stage.play(flood, NODES, tokio::time::sleep(each)).await?;
        if args.json {
            println!("{}", shown.json(&quiet));
        } else {
            println!("{shown}");
        }
        problems.extend(
            [shown.judge(&quiet), shown.judge_times(&quiet)]
                .into_iter()
                .filter_map(Result::err),
        );
        if Instant::now() >= end && floods.last() == Some(&flood) {
            break;
        }
    }
    stage.end().await?;
    for problem in &problems {
        eprintln!("{problem:#}");
    }
    if !problems.is_empty() {
        bail!("{} bounds were not kept", problems.len());
    }
    Ok(())
}
