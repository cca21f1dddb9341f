//! `holdfast serve`: runs one node.

use std::convert::Infallible;
use std::path::PathBuf;

use anyhow::Context as _;
use holdfast_node::config::{LoadedConfig, LogFormat};
use holdfast_node::{MetricsReader, Node, NodeConfig, run_with_threads};
use tokio::io::AsyncReadExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::context::Context;
use crate::logs;
use crate::telemetry::Telemetry;

/// Arguments of `holdfast serve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast serve --config node-1.toml\n\nSIGTERM and SIGINT stop it gracefully: it hands leadership over and finishes the calls under way.\nSIGUSR1 makes it read log.level again, and nothing else. SIGHUP makes it look at the certificates and the access policy, where there are any.\n`holdfast config reference` prints every key of the configuration."
)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Stop gracefully when standard input ends, for programs that run nodes as children
    #[arg(long, hide = true)]
    stop_with_stdin: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let LoadedConfig {
        config,
        old_spellings,
    } = LoadedConfig::load(&args.config)?;
    let format = match config.log.format {
        LogFormat::Json => logs::Format::Json,
        LogFormat::Pretty => logs::Format::Pretty,
    };
    let level = context.log_level.as_deref().unwrap_or(&config.log.level);
    let telemetry = Telemetry::start(&config)?;
    logs::start(level, format, telemetry.as_ref())?;
    for old in old_spellings {
        tracing::warn!("{old}");
    }
    let user_signal = signal(SignalKind::user_defined1()).context("cannot listen for SIGUSR1")?;
    let measured = telemetry.as_ref().map(Telemetry::node);
    let levels = tokio::spawn(change_level_when_told(args.config.clone(), user_signal));
    // Commands run on the threads of this command line. A node gets its own threads, as its configuration
    // says.
    let node = move || {
        let threads = config.clone();
        run_with_threads(&threads, Box::pin(serve(config, args.stop_with_stdin, measured)))
    };
    let ended = tokio::task::spawn_blocking(node).await?;
    levels.abort();
    if let Some(telemetry) = telemetry {
        telemetry.stop().await;
    }
    ended.context("cannot make the node's threads")?
}

async fn serve(
    config: NodeConfig,
    stop_with_stdin: bool,
    measured: Option<watch::Sender<Option<MetricsReader>>>,
) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    // SIGHUP is handled even when there is nothing to read again: without a handler it would end the process.
    let hang_up = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    let node_id = config.node.node_id;
    let node = Node::start(config).await?;
    if let Some(measured) = measured {
        measured.send_replace(Some(node.metrics()));
    }
    tracing::info!(
        node_id,
        client = %node.client_address(),
        peer = %node.peer_address(),
        http = %node.http_address(),
        admin = %node.admin_address(),
        "node started"
    );
    let why = tokio::select! {
        never = reload_when_told(&node, hang_up) => match never {},
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
        () = stdin_ended(stop_with_stdin) => "the end of standard input",
        reason = node.fatal() => {
            tracing::error!(node_id, %reason, "the node must stop");
            // The log itself may have failed, so the shards cannot be closed in order. What was acknowledged
            // is on the disk.
            anyhow::bail!("node {node_id} had to stop: {reason}");
        }
    };
    tracing::info!(node_id, why, "stopping");
    logs::stopping();
    tokio::select! {
        stopped = node.stop() => stopped?,
        _ = interrupt.recv() => anyhow::bail!("node {node_id} was interrupted again before it had stopped"),
    }
    tracing::info!(node_id, "node stopped");
    Ok(())
}

/// Reads the log level from the configuration again at each SIGUSR1.
async fn change_level_when_told(config: PathBuf, mut told: Signal) {
    while told.recv().await.is_some() {
        let level = NodeConfig::load(&config).map(|config| config.log.level);
        let changed = match level {
            Ok(level) => logs::change_level(&level).map(|()| level),
            Err(error) => Err(error.into()),
        };
        match changed {
            Ok(level) => tracing::info!(level, "SIGUSR1: the log level was read again"),
            Err(error) => tracing::warn!(%error, "SIGUSR1: the log level stays as it was"),
        }
    }
}

/// Reads the certificates again at each SIGHUP.
async fn reload_when_told(node: &Node, mut hang_up: Signal) -> Infallible {
    loop {
        hang_up.recv().await;
        tracing::info!(
            "SIGHUP: looking at the certificates and the access policy again, where there are any"
        );
        node.reload();
    }
}

/// Waits until standard input ends; waits forever when that is not wanted.
async fn stdin_ended(wanted: bool) {
    if !wanted {
        return std::future::pending().await;
    }
    let mut stdin = tokio::io::stdin();
    let mut ignored = [0; 64];
    while matches!(stdin.read(&mut ignored).await, Ok(1..)) {}
}
