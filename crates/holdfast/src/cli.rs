//! The command line: what is common to all commands, and which commands there are.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use holdfast_client::ClientOptions;

use crate::commands::Command;
use crate::context::Context;
use crate::failure;
use crate::output::Output;

/// An inventory ledger that cannot oversell.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct GlobalArgs {
    /// Nodes to talk to, as http://host:port, separated by commas
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_ENDPOINTS",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431",
        help_heading = "Global options"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Answer in JSON, errors too
    #[arg(long, global = true, help_heading = "Global options")]
    pub(crate) json: bool,
    /// How long one call may take with all its retries, in milliseconds
    #[arg(
        long,
        global = true,
        default_value_t = 10_000,
        value_parser = clap::value_parser!(u64).range(1..=3_600_000),
        help_heading = "Global options"
    )]
    pub(crate) deadline_ms: u64,
    /// What to log to stderr: error, warn, info, debug, trace, or a filter such as holdfast=debug
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_LOG",
        default_value = "warn",
        help_heading = "Global options"
    )]
    pub(crate) log_level: String,
}

/// Parses the arguments, runs the command, prints its failure. The exit code is 0 when it worked, 1 when
/// it was refused or failed, and 2 when the arguments were wrong.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.global.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, json),
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let context = Context::new(
        ClientOptions {
            deadline: Duration::from_millis(cli.global.deadline_ms),
            ..ClientOptions::new(cli.global.endpoints)
        },
        Output::new(cli.global.json),
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(cli.command.run(&context))
}
