//! Runs the model by itself: in every state, or as deep as the time allows.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use holdfast_model::{Limit, Report, run, scopes};

#[derive(Parser)]
#[command(
    name = "holdfast-model",
    about = "Checks the model of orders over several shards"
)]
struct Cli {
    /// How many states are explored in parallel.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Explores every state of the scopes that have an end.
    Complete {
        /// Only scopes with this in their name.
        #[arg(long, default_value = "")]
        only: String,
        /// Only the scope with exactly this name.
        #[arg(long, conflicts_with = "only")]
        scope: Option<String>,
        /// Stop when so many states are reached, each counted as often as it is reached.
        #[arg(long)]
        reached: Option<usize>,
    },
    /// Explores the other scopes as deep as the time allows.
    Deep {
        /// Seconds for each of them.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Complete { only, scope, reached } => {
            let mut scopes = scopes::complete();
            scopes.retain(|it| match &scope {
                Some(name) => it.name == name,
                None => it.name.contains(&only),
            });
            ensure!(!scopes.is_empty(), "no scope has this name");
            for scope in scopes.into_iter().rev() {
                tell(&run(&scope, reached.map(Limit::Reached), cli.threads))?;
            }
        }
        Command::Deep { seconds } => {
            for scope in scopes::deep() {
                tell(&run(
                    &scope,
                    Some(Limit::Time(Duration::from_secs(seconds))),
                    cli.threads,
                ))?;
            }
        }
    }
    Ok(())
}

fn tell(report: &Report) -> Result<()> {
    writeln!(std::io::stdout(), "{report}")?;
    ensure!(report.violation.is_none(), "a claim does not hold");
    Ok(())
}
