//! `holdfast backup cut-archive`: copies an archive of changes up to a backup.

use futures::future::try_join_all;
use holdfast_backup::{Backups, ShardManifest};
use holdfast_changes::archive::{Archive, Cut, Format};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast backup cut-archive`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A restored cluster continues the change numbers of its backup. It does not have the changes that the old cluster archived
after the backup. This command copies the archived changes up to the backup to another place, and exports of the restored
cluster go on there. The old archive is not changed. If the command was interrupted, run it again: it continues.

Examples:
  holdfast backup cut-archive --from s3://bucket/holdfast --name 20261121T093000Z --archive s3://bucket/lake --to s3://bucket/lake-2"
)]
pub(crate) struct Args {
    /// Where the backup is: a folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    from: String,
    /// Name of the backup
    #[arg(long)]
    name: String,
    /// The old cluster's archive
    #[arg(long, value_name = "URL|FOLDER")]
    archive: String,
    /// Place for the restored cluster's archive
    #[arg(long, value_name = "URL|FOLDER")]
    to: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let backup = Backups::open_existing(&args.from)?.backup(&args.name).await?;
    let old = Archive::open_existing(&args.archive)?;
    let new = Archive::open(&args.to, Format::Parquet)?;
    let (cluster_id, shards) = (backup.manifest().cluster_id, &backup.manifest().shards);
    old.check_owner(cluster_id).await?;
    new.mark_cut(
        cluster_id,
        shards.iter().map(|shard| (shard.shard, shard.last_seq)).collect(),
    )
    .await?;
    let copied: Vec<u64> = try_join_all(shards.iter().map(|shard| copy(&old, &new, shard))).await?;
    if context.json {
        let shards: Vec<_> = shards
            .iter()
            .zip(&copied)
            .map(|(shard, copied)| json!({ "shard": shard.shard, "last_seq": shard.last_seq, "copied": copied }))
            .collect();
        context.output.json(&json!({ "shards": shards }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = shards
        .iter()
        .zip(&copied)
        .map(|(shard, copied)| {
            vec![
                shard.shard.to_string(),
                shard.last_seq.to_string(),
                copied.to_string(),
            ]
        })
        .collect();
    context
        .output
        .table(&["SHARD", "THROUGH CHANGE", "COPIED NOW"], &rows)?;
    Ok(())
}

/// Copies a shard's changes up to the last one in the backup. Returns how many they are.
async fn copy(old: &Archive, new: &Archive, shard: &ShardManifest) -> anyhow::Result<u64> {
    let archived = old
        .last_entry(shard.shard)
        .await?
        .map_or(0, |(entry, _)| entry.last_seq);
    anyhow::ensure!(
        archived >= shard.last_seq,
        "the archive ends with change {archived} of shard {}, before the backup's last change {}: what is missing is \
         in no cluster any more unless the old one can still be exported",
        shard.shard,
        shard.last_seq
    );
    let mut chain = old.chain(shard.shard).await?;
    let mut entry = chain.next().await?;
    let begins_with = entry.as_ref().map_or(1, |entry| entry.first_seq);
    let mut writer = new.writer_from(shard.shard, begins_with, Cut::default()).await?;
    let mut copied = 0;
    while let Some(file) = entry.filter(|file| file.first_seq <= shard.last_seq) {
        let from_seq = writer.next_seq();
        if from_seq <= file.last_seq {
            let mut changes = old.read(&file).await?;
            changes.retain(|change| from_seq <= change.seq && change.seq <= shard.last_seq);
            copied += changes.len() as u64;
            writer.push(changes).await?;
        }
        entry = chain.next().await?;
    }
    writer.flush().await?;
    anyhow::ensure!(
        writer.next_seq() == shard.last_seq + 1,
        "--to holds changes of shard {} after the backup already: give an empty place",
        shard.shard
    );
    Ok(copied)
}
