//! Runs the model by itself: as deep as the time allows, or with each seeded fault.

use std::{io::Write as _, time::Duration};

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use holdfast_model::{Report, run, scopes};

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
    },
    /// Explores the other scopes as deep as the time allows.
    Deep {
        /// Seconds for each of them.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// Gives the ledger one seeded fault after the other: each has to break a claim.
    #[cfg(feature = "faults")]
    Mutants {
        /// Only faults with this in their name.
        #[arg(long, default_value = "")]
        only: String,
    },
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match cli.command {
        Command::Complete { only } => {
            let mut scopes = vec![scopes::competing(), scopes::one_coordinator()];
            scopes.extend(scopes::two_coordinators());
            scopes.push(scopes::best_effort());
            scopes.extend(scopes::best_effort_troubled());
            scopes.extend(scopes::replacing());
            scopes.extend(scopes::replacing_troubled());
            scopes.push(scopes::one_reference());
            scopes.push(scopes::one_reference_replaced());
            scopes.retain(|scope| scope.name.contains(&only));
            for scope in scopes.into_iter().rev() {
                tell(&run(&scope, None, cli.threads))?;
            }
        }
        Command::Deep { seconds } => {
            for scope in scopes::deep() {
                tell(&run(&scope, Some(Duration::from_secs(seconds)), cli.threads))?;
            }
        }
        #[cfg(feature = "faults")]
        Command::Mutants { only } => mutants(&only, cli.threads)?,
    }
    Ok(())
}

fn tell(report: &Report) -> Result<()> {
    writeln!(std::io::stdout(), "{report}")?;
    ensure!(report.violation.is_none(), "a claim does not hold");
    Ok(())
}

#[cfg(feature = "faults")]
fn mutants(only: &str, threads: usize) -> Result<()> {
    let mut out = std::io::stdout();
    let mutants = holdfast_model::mutants::run_all(only, None, threads, |mutant| {
        let claim = mutant
            .report
            .violation
            .as_ref()
            .map_or("NOT CAUGHT", |violation| violation.broken.claim());
        let _ = writeln!(
            out,
            "{:<24} {:>7} states  broke: {claim}",
            format!("{:?}", mutant.fault),
            mutant.report.states
        );
    });
    let caught = mutants.iter().filter(|mutant| mutant.is_caught()).count();
    writeln!(out, "{caught} of {} caught", mutants.len())?;
    ensure!(caught == mutants.len(), "the model does not notice every fault");
    Ok(())
}
