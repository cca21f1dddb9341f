//! `holdfast sinks status`: shows how far each sink is.

use futures::TryStreamExt as _;
use holdfast_client::{Client, v1};
use holdfast_sinks::runner::{Cluster, NamedSink};
use holdfast_sinks::sink::{Position, SinkError};
use serde_json::{Value, json};

use super::ConfigArg;
use crate::commands::changes::streams;
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast sinks status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Asks each target where it is, and the cluster where its streams end. No runner needs to run.
LAG is the age of the oldest change that the target lacks, beside the newest one of the cluster. Exit code 1 when a
target cannot be asked.

Examples:
  holdfast sinks status --config sinks.toml
  holdfast sinks status --config sinks.toml --sink product-pages --json"
)]
pub(crate) struct Args {
    #[command(flatten)]
    config: ConfigArg,
}

/// How far a sink is in one shard.
struct Line {
    sink: String,
    shard: u32,
    last_seq: u64,
    position: Result<Position, SinkError>,
    lag_ms: u64,
}

impl Line {
    fn lag_changes(&self) -> Option<u64> {
        let position = self.position.as_ref().ok()?;
        Some(self.last_seq.saturating_sub(position.through_seq))
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let (_, cluster, sinks) = super::open(&args.config, context).await?;
    let positions = streams::positions(&cluster.client, None).await?;
    let mut lines = Vec::new();
    for sink in &sinks {
        for position in &positions {
            lines.push(look(&cluster, sink, position).await?);
        }
    }
    print(&lines, context)?;
    let silent = lines.iter().filter(|line| line.position.is_err()).count();
    anyhow::ensure!(
        silent == 0,
        "{silent} of {} positions cannot be read",
        lines.len()
    );
    Ok(())
}

async fn look(cluster: &Cluster, sink: &NamedSink, end: &v1::ShardPosition) -> anyhow::Result<Line> {
    let position = sink.sink.position(end.shard).await;
    let lag_ms = match &position {
        Ok(position) if position.through_seq < end.last_seq => {
            let oldest_ms = log_time_of(&cluster.client, end.shard, position.through_seq + 1).await?;
            oldest_ms.map_or(0, |oldest_ms| end.log_time_ms.saturating_sub(oldest_ms))
        }
        _ => 0,
    };
    Ok(Line {
        sink: sink.name.clone(),
        shard: end.shard,
        last_seq: end.last_seq,
        position,
        lag_ms,
    })
}

/// Returns the log time of a change. Returns None when the nodes do not have it any more.
async fn log_time_of(client: &Client, shard: u32, seq: u64) -> anyhow::Result<Option<u64>> {
    let request = v1::TailChangesRequest {
        shard,
        from_seq: seq,
        ..v1::TailChangesRequest::default()
    };
    let mut messages = std::pin::pin!(client.tail_changes_matching(request));
    match messages.try_next().await {
        Ok(message) => {
            let first = message.and_then(|message| message.changes.into_iter().next());
            Ok(first.map(|change| change.log_time_ms))
        }
        Err(error) if error.reason() == Some(v1::Reason::PositionTooOld) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn print(lines: &[Line], context: &Context) -> anyhow::Result<()> {
    if context.json {
        let shards: Vec<Value> = lines.iter().map(line_json).collect();
        context.output.json(&json!({ "shards": shards }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = lines
        .iter()
        .map(|line| {
            let (through, at) = match &line.position {
                Ok(position) => (
                    position.through_seq.to_string(),
                    render::time(position.log_time_ms),
                ),
                Err(_) => ("?".to_owned(), "?".to_owned()),
            };
            let behind = line
                .lag_changes()
                .map_or("?".to_owned(), |behind| behind.to_string());
            let lag = format!("{} ms", line.lag_ms);
            vec![
                line.sink.clone(),
                line.shard.to_string(),
                through,
                line.last_seq.to_string(),
                behind,
                lag,
                at,
            ]
        })
        .collect();
    let headers = ["SINK", "SHARD", "THROUGH", "LAST", "BEHIND", "LAG", "LOG TIME"];
    context.output.table(&headers, &rows)?;
    for line in lines {
        if let Err(error) = &line.position {
            context
                .output
                .note(format!("sink {} shard {}: {error}", line.sink, line.shard));
        }
    }
    Ok(())
}

fn line_json(line: &Line) -> Value {
    let position = line.position.as_ref().ok();
    json!({
        "sink": line.sink,
        "shard": line.shard,
        "through_seq": position.map(|position| position.through_seq),
        "log_time_ms": position.map(|position| position.log_time_ms),
        "last_seq": line.last_seq,
        "lag_changes": line.lag_changes(),
        "lag_ms": line.lag_ms,
        "error": line.position.as_ref().err().map(ToString::to_string),
    })
}
