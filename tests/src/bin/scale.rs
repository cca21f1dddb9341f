//! A cluster that grows and shrinks while buyers go on.

use anyhow::Result;
use clap::Parser;
use holdfast_tests::scale::{Scaling, run};

/// Nodes come, go and lose their disks while buyers go on: what do they notice of each step? Nothing
/// acknowledged may be lost
#[derive(Parser)]
#[command(after_help = "Examples:\n  cargo xtask scale\n  cargo xtask scale --buyers 64 --grants 20000")]
struct Args {
    /// Buyers at once, each waiting for its answer before it orders again
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    buyers: u16,
    /// Grants that make up a quiet step, and that must follow each change
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    grants: u64,
    /// Seed of the choices of the clients that are checked most strictly
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[tokio::main]
#[allow(clippy::print_stdout, reason = "this is what the program is for")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let scaling = Scaling {
        buyers: usize::from(args.buyers),
        grants: args.grants,
        seed: args.seed,
    };
    println!("{}", run(scaling).await?);
    Ok(())
}
