//! `holdfast backup restore`: begins a new cluster with a backup.

use std::path::PathBuf;

use anyhow::Context as _;
use holdfast_backup::{Backup, Backups, Manifest};
use holdfast_node::NodeConfig;
use holdfast_node::restore::{Restore, Restored, RestoredShard};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast backup restore`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Run it once for each node of the new cluster, on that node's empty data folder, with the same backup, before any of
them is started; then start them all. The new cluster needs as many shards as the old one and a node.cluster_id of its
own. Everything acknowledged after the backup is not in it; docs/backup.md says what to do about that.

Examples:
  holdfast backup restore --from s3://bucket/holdfast --name 20261121T093000Z --config node-1.toml"
)]
pub(crate) struct Args {
    /// A folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    from: String,
    /// Name of the backup
    #[arg(long)]
    name: String,
    /// The configuration of the node that is to begin with it
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let config = NodeConfig::load(&args.config)?;
    let backup = Backups::open_existing(&args.from)?.backup(&args.name).await?;
    write(&config, &backup).await?;
    let manifest = backup.manifest();
    if context.json {
        context.output.json(&json!({
            "node_id": config.node.node_id,
            "data_dir": config.node.data_dir,
            "backup": manifest,
        }))?;
        return Ok(());
    }
    context.output.line(format!(
        "node {} begins with backup {} of {}, in {}",
        config.node.node_id,
        manifest.name,
        manifest.created_at,
        config.node.data_dir.display()
    ))?;
    context
        .output
        .note("restore the other nodes from the same backup too, and then start them all");
    Ok(())
}

async fn write(config: &NodeConfig, backup: &Backup) -> anyhow::Result<()> {
    let (config, restored) = (config.clone(), restored(backup.manifest()));
    // Beginning a restore blocks its thread on the disk.
    let mut restore = tokio::task::spawn_blocking(move || Restore::begin(&config, restored)).await??;
    for shard in &backup.manifest().shards {
        let (bytes, ledger) = backup.ledger(shard).await?;
        drop(ledger);
        let number = shard.shard;
        let written = tokio::task::spawn_blocking(move || restore.ledger(number, &bytes).map(|()| restore));
        restore = written.await?.with_context(|| format!("shard {number}"))?;
    }
    tokio::task::spawn_blocking(move || restore.finish()).await??;
    Ok(())
}

fn restored(manifest: &Manifest) -> Restored {
    let shard = |shard: &holdfast_backup::ShardManifest| RestoredShard {
        shard: shard.shard,
        log_index: shard.log_index,
        last_seq: shard.last_seq,
        state_digest: shard.state_digest.0,
    };
    Restored {
        backup_id: manifest.backup_id,
        backup: manifest.name.clone(),
        cluster_id: manifest.cluster_id,
        shards: manifest.shards.iter().map(shard).collect(),
    }
}
