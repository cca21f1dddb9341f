//! `holdfast changes positions`: shows where the streams begin and end.

use holdfast_client::v1;
use serde_json::{Value, json};

use super::streams;
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast changes positions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast changes positions")]
pub(crate) struct Args {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let positions = streams::positions(context.client()?, args.shard).await?;
    if context.json {
        let shards: Vec<Value> = positions.iter().map(position_json).collect();
        context.output.json(&json!({ "shards": shards }))?;
        return Ok(());
    }
    let row = |position: &v1::ShardPosition| {
        let v1::ShardPosition {
            shard,
            first_seq,
            last_seq,
            log_time_ms,
        } = *position;
        vec![
            shard.to_string(),
            first_seq.to_string(),
            last_seq.to_string(),
            render::time(log_time_ms),
        ]
    };
    let rows: Vec<Vec<String>> = positions.iter().map(row).collect();
    context
        .output
        .table(&["SHARD", "FIRST", "LAST", "LOG TIME"], &rows)?;
    Ok(())
}

fn position_json(position: &v1::ShardPosition) -> Value {
    json!({
        "shard": position.shard,
        "first_seq": position.first_seq,
        "last_seq": position.last_seq,
        "log_time_ms": position.log_time_ms,
    })
}
