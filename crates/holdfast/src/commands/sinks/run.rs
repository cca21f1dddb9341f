//! `holdfast sinks run`: delivers changes to all sinks.

use std::time::Duration;

use holdfast_sinks::http;
use holdfast_sinks::runner::Runner;
use tokio_util::sync::CancellationToken;

use super::ConfigArg;
use crate::commands::changes::streams;
use crate::context::Context;

/// The time between two tries to find the cluster when the runner starts.
const FIND_EVERY: Duration = Duration::from_secs(2);

/// Arguments of `holdfast sinks run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The runner keeps nothing: each sink's position is in its target. It can be killed, started twice and moved.
A target that is down is tried again. One that says no is reported on stderr, in `holdfast sinks status` and in the metrics,
and the other sinks go on.

Examples:
  holdfast sinks run --config sinks.toml
  holdfast sinks run --config sinks.toml --sink product-pages
  HOLDFAST_LOG=info holdfast sinks run --config sinks.toml"
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    // What is wrong with the configuration is told at once, also while the cluster cannot be reached.
    super::read_config(&args.config.config, &args.config.only)?;
    let stopping = CancellationToken::new();
    let stop = async {
        let stopped = streams::stop_requested().await;
        stopping.cancel();
        stopped
    };
    let deliver = deliver(&args, context, &stopping);
    let (delivered, stopped) = tokio::join!(
        async {
            let delivered = deliver.await;
            stopping.cancel();
            delivered
        },
        async {
            tokio::select! {
                stopped = stop => stopped,
                () = stopping.cancelled() => Ok(()),
            }
        }
    );
    delivered.and(Ok(stopped?))
}

async fn deliver(args: &Args, context: &Context, stopping: &CancellationToken) -> anyhow::Result<()> {
    let opened = loop {
        match super::open(&args.config, context).await {
            Ok(opened) => break Some(opened),
            Err(error) if passes(&error) => {
                context
                    .output
                    .note(format!("the cluster does not answer, trying again: {error:#}"));
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(FIND_EVERY) => {}
            () = stopping.cancelled() => break None,
        }
    };
    let Some((config, cluster, sinks)) = opened else {
        return Ok(());
    };
    let runner = Runner::new(cluster, sinks);
    let names: Vec<&str> = config.sinks.keys().map(String::as_str).collect();
    context
        .output
        .note(format!("delivering changes to {}", names.join(", ")));
    if let Some(listen) = config.listen {
        let address = http::serve(listen, runner.board(), stopping.clone())?;
        context
            .output
            .note(format!("metrics at http://{address}/metrics"));
    }
    let board = runner.board();
    runner.run(stopping).await;
    for report in board.all() {
        let lacks = match report.lag_changes {
            0 => String::new(),
            lag => format!(", {lag} changes of the cluster wait for the next run"),
        };
        let status = report.status;
        context.output.note(format!(
            "sink {} shard {}: through change {}{lacks}",
            report.sink, report.shard, status.through_seq
        ));
    }
    Ok(())
}

/// Returns whether the cluster may answer a moment later.
fn passes(error: &anyhow::Error) -> bool {
    use holdfast_client::ClientError;
    match error.downcast_ref::<ClientError>() {
        Some(ClientError::Unavailable { .. } | ClientError::Unknown { .. }) => true,
        Some(ClientError::Refused(refusal)) => holdfast_client::is_retryable(refusal.reason()),
        _ => false,
    }
}
