//! `holdfast backup verify`: reads all of a backup and checks it.

use holdfast_backup::{Backups, VerifiedShard};
use serde_json::{Value, json};

use super::create;
use crate::context::Context;

/// Arguments of `holdfast backup verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It reads every file, compares its checksum, decodes the ledger in it, checks all of its invariants and compares
it with the manifest, and checks that orders over several shards fit together. It needs memory for the largest shard.
The exit code is 1 when anything is wrong: such a backup is refused by restore too.

Examples:
  holdfast backup verify --from s3://bucket/holdfast --name 20261121T093000Z"
)]
pub(crate) struct Args {
    /// A folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    from: String,
    /// Name of the backup
    #[arg(long)]
    name: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let backup = Backups::open_existing(&args.from)?.backup(&args.name).await?;
    let verified = holdfast_backup::verify(&backup).await?;
    let manifest = backup.manifest();
    if context.json {
        let shards: Vec<Value> = verified.iter().map(to_json).collect();
        let report = json!({
            "ok": true,
            "name": manifest.name,
            "backup_id": manifest.backup_id,
            "created_at": manifest.created_at,
            "cluster_id": manifest.cluster_id,
            "shards": shards,
        });
        context.output.json(&report)?;
        return Ok(());
    }
    context.output.line(format!(
        "backup {} of cluster {}, taken {}, is whole and can be restored",
        manifest.name, manifest.cluster_id, manifest.created_at
    ))?;
    context.output.line("")?;
    let rows: Vec<Vec<String>> = verified.iter().map(row).collect();
    let headers = [&create::HEADERS[..], &["CELLS", "LIVE RESERVATIONS"][..]].concat();
    context.output.table(&headers, &rows)?;
    Ok(())
}

fn row(shard: &VerifiedShard) -> Vec<String> {
    let mut row = create::row(&shard.manifest);
    row.push(shard.cells.to_string());
    row.push(shard.live_reservations.to_string());
    row
}

fn to_json(shard: &VerifiedShard) -> Value {
    json!({
        "shard": shard.manifest.shard,
        "log_index": shard.manifest.log_index,
        "log_time_ms": shard.manifest.log_time_ms,
        "last_seq": shard.manifest.last_seq,
        "bytes": shard.manifest.bytes,
        "state_digest": shard.manifest.state_digest,
        "cells": shard.cells,
        "live_reservations": shard.live_reservations,
        "prepared_reservations": shard.prepared_reservations,
        "unsettled_orders": shard.unsettled_orders,
    })
}
