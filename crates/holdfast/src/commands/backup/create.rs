//! `holdfast backup create`: copies the whole cluster to an object store.

use holdfast_backup::{Backups, ShardManifest, take};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast backup create`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All shards take nothing new into their logs for some milliseconds, while their ledgers are copied in memory. Requests
wait for that time. Then the copies are written, and last of all the manifest: without it a backup cannot be used.
The caller needs the verb `admin`.

Examples:
  holdfast backup create --to ./backups
  holdfast backup create --to s3://bucket/holdfast --name before-the-sale"
)]
pub(crate) struct Args {
    /// A folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    to: String,
    /// Name of the backup; the present time when left out
    #[arg(long)]
    name: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let backups = Backups::open(&args.to)?;
    let manifest = take(context.client()?, &backups, args.name.as_deref()).await?;
    if context.json {
        context.output.json(&json!({ "backup": manifest }))?;
        return Ok(());
    }
    let bytes: u64 = manifest.shards.iter().map(|shard| shard.bytes).sum();
    context.output.line(format!(
        "backup {} is written: {} shards, {bytes} bytes; writes waited for {:.1} ms at most",
        manifest.name,
        manifest.shard_count,
        manifest.frozen_us as f64 / 1000.0
    ))?;
    context.output.line("")?;
    let rows: Vec<Vec<String>> = manifest.shards.iter().map(row).collect();
    context.output.table(&HEADERS, &rows)?;
    context.output.note(format!(
        "check it with `holdfast backup verify --from {} --name {}`",
        args.to, manifest.name
    ));
    Ok(())
}

pub(super) const HEADERS: [&str; 6] = [
    "SHARD",
    "LOG INDEX",
    "LOG TIME",
    "LAST CHANGE",
    "BYTES",
    "STATE DIGEST",
];

/// Returns the row of a manifest's shard in a table.
pub(super) fn row(shard: &ShardManifest) -> Vec<String> {
    vec![
        shard.shard.to_string(),
        shard.log_index.to_string(),
        shard.log_time_ms.to_string(),
        shard.last_seq.to_string(),
        shard.bytes.to_string(),
        shard.state_digest.to_string(),
    ]
}
