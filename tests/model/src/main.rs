//! Runs the model for as long as it is given.

use std::{io::Write as _, time::Duration};

use clap::Parser;
use holdfast_model::{OrderScope, Scope, run};

#[derive(Parser)]
#[command(
    name = "holdfast-model",
    about = "Checks the model of orders over several shards"
)]
struct Cli {
    /// How long, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let scope = Scope {
        name: "one order, two coordinators, two shards",
        units: vec![2, 2],
        orders: vec![OrderScope::of(&[0, 1], 1)],
        coordinators: vec![0, 0],
        wishes: Vec::new(),
        timeouts: 0,
        redeliveries: 0,
        leaps: vec![0, 0],
    };
    let report = run(&scope, Some(Duration::from_secs(cli.seconds)), 2);
    writeln!(std::io::stdout(), "{report:?}")?;
    Ok(())
}
