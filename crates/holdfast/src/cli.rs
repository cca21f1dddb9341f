//! The command line: the list of commands, and what all of them share.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser};
use holdfast_client::{ClientOptions, ClientTls};

use crate::arguments::duration;
use crate::commands::Command;
use crate::context::Context;
use crate::failure::Usage;
use crate::output::Output;
use crate::{failure, logs, output};

/// An inventory ledger that cannot oversell.
#[derive(Debug, Parser)]
#[command(
    name = "holdfast",
    version,
    propagate_version = true,
    after_help = "Examples:\n  holdfast dev\n  holdfast stock receive SHIRT-1 --warehouse LONDON --quantity 100\n  holdfast reserve SHIRT-1=2\n\nExit codes: 0 if it worked, 1 if it was refused or failed, 2 if the arguments were wrong."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Nodes to talk to, as http://host:port (https:// with certificates), separated by commas
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_ENDPOINTS",
        value_delimiter = ',',
        value_name = "URL,...",
        default_value = "http://127.0.0.1:7411,http://127.0.0.1:7421,http://127.0.0.1:7431"
    )]
    endpoints: Vec<String>,
    #[command(flatten)]
    tls: TlsArgs,
    /// Print results and errors as JSON
    #[arg(long, global = true)]
    json: bool,
    /// How long one call may take with all its retries, from 1ms to 1h
    #[arg(long, global = true, value_name = "DURATION", default_value = "10s", value_parser = deadline)]
    deadline: Duration,
    /// The old spelling of --deadline, in milliseconds
    #[arg(
        long,
        global = true,
        hide = true,
        conflicts_with = "deadline",
        value_name = "MS",
        value_parser = clap::value_parser!(u64).range(1..=3_600_000)
    )]
    deadline_ms: Option<u64>,
    /// Log filter for stderr: error, warn, info, debug, trace, or a list such as warn,holdfast_client=debug.
    /// The default is warn; `serve` takes the default from its configuration
    #[arg(long, global = true, env = "HOLDFAST_LOG", value_name = "LEVEL")]
    log_level: Option<String>,
}

/// Certificates for a cluster that requires TLS: all three or none.
#[derive(Debug, Clone, Args)]
struct TlsArgs {
    /// CA certificate of the nodes, as a PEM file
    #[arg(long, global = true, env = "HOLDFAST_TLS_CA", value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// Our certificate, as a PEM file
    #[arg(long, global = true, env = "HOLDFAST_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of our certificate, as a PEM file
    #[arg(long, global = true, env = "HOLDFAST_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,
}

impl TlsArgs {
    fn read(&self) -> anyhow::Result<Option<ClientTls>> {
        match (&self.tls_ca, &self.tls_cert, &self.tls_key) {
            (None, None, None) => Ok(None),
            (Some(ca), Some(certificate), Some(key)) => Ok(Some(ClientTls::read(ca, certificate, key)?)),
            _ => Err(Usage("TLS needs --tls-ca, --tls-cert and --tls-key together".to_owned()).into()),
        }
    }
}

/// Parses the arguments, runs the command and prints its failure. The exit code is 0 when the command worked,
/// 1 when it was refused or failed, and 2 when the arguments were wrong.
pub(crate) fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return failure::report_parsing(&error, std::env::args_os()),
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of our output, such as `head`, has closed it: that is no failure.
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, json),
    }
}

/// Parses a value of `--deadline`.
fn deadline(text: &str) -> Result<Duration, String> {
    let deadline = duration(text)?;
    if (Duration::from_millis(1)..=Duration::from_secs(3_600)).contains(&deadline) {
        Ok(deadline)
    } else {
        Err(format!("{text} is not allowed: choose a value from 1ms to 1h"))
    }
}

fn run(cli: Cli) -> anyhow::Result<()> {
    if !cli.command.logs_by_configuration() {
        logs::start(
            cli.global.log_level.as_deref().unwrap_or("warn"),
            logs::Format::Pretty,
            None,
        )?;
    }
    let options = ClientOptions {
        deadline: cli
            .global
            .deadline_ms
            .map_or(cli.global.deadline, Duration::from_millis),
        // The environment may name certificates for operators that do not exist on this machine. A node must
        // start all the same.
        tls: match cli.command.is_client() {
            true => cli.global.tls.read()?,
            false => None,
        },
        ..ClientOptions::new(cli.global.endpoints)
    };
    let context = Context::new(options, Output::new(cli.global.json), cli.global.log_level);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(Box::pin(cli.command.run(&context)));
    // The command is done, and what still runs in the background has been asked to stop: do not wait for it.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    /// Returns every command and subcommand, with its path.
    fn all_commands() -> Vec<(String, clap::Command)> {
        let mut root = Cli::command();
        root.build();
        let mut all = Vec::new();
        let mut todo = vec![(String::new(), root)];
        while let Some((path, command)) = todo.pop() {
            let path = format!("{path} {}", command.get_name()).trim().to_owned();
            for child in command
                .get_subcommands()
                .filter(|child| child.get_name() != "help")
            {
                todo.push((path.clone(), child.clone()));
            }
            all.push((path, command));
        }
        all
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_summary_and_an_example_that_parses() {
        for (path, command) in all_commands() {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            assert!(!about.is_empty() && !about.contains('\n'), "{path}: {about:?}");
            let help = command
                .get_after_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let examples: Vec<&str> = help
                .lines()
                .filter_map(|line| line.strip_prefix("  holdfast "))
                .collect();
            assert!(!examples.is_empty(), "{path} has no example");
            for example in examples {
                let before_redirect = example.split(" >").next().unwrap_or_default();
                let line = before_redirect.split(" #").next().unwrap_or_default();
                let arguments = line.split_whitespace();
                let parsed = Cli::try_parse_from(std::iter::once("holdfast").chain(arguments));
                assert!(parsed.is_ok(), "{path}: {example}: {}", parsed.unwrap_err());
            }
        }
    }

    #[test]
    fn the_commands_of_the_systemd_units_and_of_their_page_parse() {
        let node = include_str!("../../../cluster/systemd/holdfast.service");
        let sinks = include_str!("../../../cluster/systemd/holdfast-sinks.service");
        let page = include_str!("../../../docs/operations.md");
        let of_unit = |unit: &'static str| {
            let starts = unit.lines().filter_map(|line| line.strip_prefix("ExecStart"));
            starts.filter_map(|line| Some(line.split_once("/bin/holdfast ")?.1))
        };
        assert_eq!((of_unit(node).count(), of_unit(sinks).count()), (2, 1));
        let blocks = page.split("```").skip(1).step_by(2).flat_map(str::lines);
        let of_page = blocks.filter_map(|line| {
            let local = line.strip_prefix("/usr/local/bin/holdfast.new ");
            local.or_else(|| line.strip_prefix("holdfast "))
        });
        let commands: Vec<&str> = of_unit(node).chain(of_unit(sinks)).chain(of_page).collect();
        assert!(commands.len() >= 5, "{commands:?}");
        for command in commands {
            let parsed = Cli::try_parse_from(std::iter::once("holdfast").chain(command.split_whitespace()));
            assert!(parsed.is_ok(), "{command}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn every_mutation_takes_an_id_a_reference_and_a_reason() {
        for path in [
            "reserve",
            "commit",
            "release",
            "extend",
            "ship",
            "cancel",
            "return",
            "stock receive",
            "stock adjust",
            "stock count",
            "stock move",
            "stock policy",
            "stock pool",
            "stock expect",
            "transfer out",
            "transfer in",
            "transfer close",
        ] {
            let (_, command) = all_commands()
                .into_iter()
                .find(|(name, _)| *name == format!("holdfast {path}"))
                .unwrap_or_else(|| panic!("no command {path}"));
            for wanted in ["operation-id", "reference", "reason"] {
                assert!(
                    command
                        .get_arguments()
                        .any(|argument| argument.get_long() == Some(wanted)),
                    "{path} --{wanted}"
                );
            }
        }
    }

    #[test]
    fn malformed_arguments_are_usage_errors_that_name_what_is_wrong() {
        for (line, says) in [
            ("reserve", "SKU=QTY"),
            ("reserve SHIRT-1", "SKU=QTY"),
            ("reserve SHIRT-1=0", "at least 1"),
            ("reserve SHIRT-1=-4", "at least 1"),
            ("reserve SHIRT-1=99999999999999999999", "too large"),
            ("reserve SHIRT-1=1 --ttl soon", "15m"),
            ("reserve SHIRT-1=1 --warehouse A --prefer B", "--prefer"),
            ("commit not-a-uuid", "not-a-uuid"),
            ("ship 01936f3e-6a00-7000-8000-000000000001 --line 1", "LINE=QTY"),
            ("return", "RESERVATION"),
            ("return --sku A", "--warehouse"),
            (
                "return 01936f3e-6a00-7000-8000-000000000001 --sku A --warehouse B --quantity 1",
                "--sku",
            ),
            ("stock receive A --warehouse B --quantity -1", "at least 1"),
            ("stock count A --warehouse B --counted -1", "-1"),
            (
                "stock move A --warehouse B --quantity 1 --from held --to free",
                "quality-hold",
            ),
            (
                "stock expect A --warehouse B --supply-id po --quantity 1 --at soon",
                "2026-11-21",
            ),
            (
                "stock policy A --storefront web --preorder-limit 1",
                "--preorder-until",
            ),
            ("transfer out A=1 --from B --to C", "--expected-at"),
            ("transfer out --from B --to C --expected-at 1", "SKU=QTY"),
            ("transfer in 7", "TRANSFER"),
            ("--deadline-ms 0 cluster status", "0"),
            ("--deadline 0ms cluster status", "from 1ms to 1h"),
            ("--deadline 2h cluster status", "from 1ms to 1h"),
            ("--deadline 10 cluster status", "15m"),
            ("--deadline 1s --deadline-ms 1000 cluster status", "--deadline-ms"),
            ("no-such-command", "no-such-command"),
        ] {
            let error =
                Cli::try_parse_from(std::iter::once("holdfast").chain(line.split_whitespace())).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains(says), "{line}: {error}");
        }
    }
}
