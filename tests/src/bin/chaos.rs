//! Rounds of faults on real processes, for a number of minutes.

use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use holdfast_tests::chaos::{Fault, Report, Round, round};

/// Faults on real processes while buyers go on: nothing acknowledged may be lost, nothing sold twice
#[derive(Parser)]
#[command(after_help = "Examples:\n  cargo xtask chaos --minutes 30\n  cargo xtask chaos --seed 7")]
struct Args {
    /// Run rounds for this many minutes; the last one is finished
    #[arg(long, default_value_t = 2, conflicts_with = "seed")]
    minutes: u64,
    /// Run only the round of this seed, which a failure names
    #[arg(long)]
    seed: Option<u64>,
    /// How many nodes a cluster has, 3 to 7; with 3 no replica can move
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Only this fault (may be given again for more); all faults otherwise
    #[arg(long = "fault", value_name = "FAULT")]
    faults: Vec<Fault>,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let mut report = Report::default();
    let faults = match args.faults.is_empty() {
        true => Fault::ALL.to_vec(),
        false => args.faults,
    };
    let of_seed = |seed| Round {
        seed,
        nodes: args.nodes,
        faults: faults.clone(),
    };
    if let Some(seed) = args.seed {
        round(&of_seed(seed), &mut report).await?;
        println!("{report}");
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    for seed in 1.. {
        let outcome = round(&of_seed(seed), &mut report).await;
        println!("{report}");
        outcome?;
        if Instant::now() >= until {
            break;
        }
    }
    Ok(())
}
