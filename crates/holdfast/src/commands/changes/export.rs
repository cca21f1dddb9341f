//! `holdfast changes export`: writes changes to files that never change afterwards.

use std::time::Duration;

use clap::ValueEnum;
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use holdfast_changes::archive::{Archive, Cut, Format, Writer, spans};
use holdfast_client::{Client, id_bytes, v1};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::streams;
use crate::arguments::duration;
use crate::context::Context;

/// Arguments of `holdfast changes export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Files are named by shard, range of changes and hash, and written once. Manifest entries name them, and each
carries the hash of the one before (docs/archive.md):
  changes/shard=0003/day=2026-12-01/0003-00000000000000000001-00000000000000004096-0a1b2c3d4e5f6071.parquet
  manifest/shard=0003/day=2026-12-01/0003-000000000001.json
Running it again goes on behind the last file. The archive is of one cluster: another one, also one that was restored
from a backup, refuses it. Several exports to one place do no harm. An object store takes its credentials, region and endpoint from
the AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT variables (AWS_ALLOW_HTTP=true for http).

Examples:
  holdfast changes export --to ./lake --format parquet
  holdfast changes export --to s3://bucket/holdfast --follow --lock-days 180"
)]
pub(crate) struct Args {
    /// A folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    to: String,
    /// Format of the files
    #[arg(long, value_enum, default_value = "parquet")]
    format: FormatName,
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Go on with new changes until stopped
    #[arg(long)]
    follow: bool,
    /// Close a file at the end of the entry that fills this many rows
    #[arg(long, value_name = "ROWS", default_value_t = Cut::default().rows as u64, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    rows_per_file: u64,
    /// Close a file at each border of this period of log time, and at the end of each UTC day
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    period: Duration,
    /// With --follow: close a file when its oldest change has waited this long. Longer than --period, it
    /// matters only while nothing new comes
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = duration)]
    max_wait: Duration,
    /// Lock each file against deletion (object lock, mode COMPLIANCE) until this many days after its log
    /// time. Nobody can undo it. The bucket needs versions and object lock; a folder has no locks
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    lock_days: Option<u32>,
    /// Let a new archive begin with the oldest change that the nodes still have, if that is not change 1
    #[arg(long)]
    from_oldest: bool,
}

/// Names of the formats on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum FormatName {
    /// Parquet, for the warehouse
    Parquet,
    /// One JSON line for each change
    Jsonl,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Parquet => Self::Parquet,
            FormatName::Jsonl => Self::Jsonl,
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut archive = Archive::open(&args.to, args.format.into())?;
    if let Some(days) = args.lock_days {
        archive = archive.with_lock(days)?;
    }
    let (positions, cluster_id) = streams::positions_and_cluster(client, args.shard).await?;
    archive.belong_to(cluster_id, &spans(&positions)).await?;
    let cut = Cut {
        rows: usize::try_from(args.rows_per_file)?,
        period: args.period,
        max_wait: args.max_wait,
    };
    let stop = CancellationToken::new();
    let progress = progress();
    let shards = positions.iter().map(|position| async {
        let first_seq = if args.from_oldest {
            position.first_seq.max(1)
        } else {
            1
        };
        let mut writer = archive.writer_from(position.shard, first_seq, cut).await?;
        let until = (!args.follow).then_some(position.last_seq);
        let request = v1::TailChangesRequest {
            shard: position.shard,
            from_seq: writer.next_seq(),
            cluster_id: id_bytes(cluster_id),
            ..v1::TailChangesRequest::default()
        };
        export(client, request, until, &mut writer, &stop, &progress).await?;
        anyhow::Ok((position.shard, writer))
    });
    let writers = stop_when_asked(try_join_all(shards), &stop).await?;
    progress.finish_and_clear();
    report(&writers, &args, context)
}

/// Runs the export. When asked to stop, it first writes the changes that wait.
async fn stop_when_asked<T>(exported: impl Future<Output = T>, stop: &CancellationToken) -> T {
    let mut exported = std::pin::pin!(exported);
    tokio::select! {
        done = &mut exported => return done,
        _ = streams::stop_requested() => stop.cancel(),
    }
    exported.await
}

async fn export(
    client: &Client,
    request: v1::TailChangesRequest,
    until: Option<u64>,
    writer: &mut Writer,
    stop: &CancellationToken,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut messages = match until {
        Some(last_seq) => streams::through(client, request, last_seq),
        None => streams::following(client, request),
    };
    loop {
        let due = writer.due().filter(|_| until.is_none());
        let flush_is_due = async {
            match due {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = messages.try_next() => match message? {
                Some(message) => {
                    progress.inc(message.changes.len() as u64);
                    writer.push(message.changes).await?;
                }
                None => break,
            },
            () = flush_is_due => writer.flush().await?,
            () = stop.cancelled() => break,
        }
    }
    Ok(writer.flush().await?)
}

fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {human_pos} changes archived, {per_sec}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn report(writers: &[(u32, Writer)], args: &Args, context: &Context) -> anyhow::Result<()> {
    let files: u64 = writers.iter().map(|(_, writer)| writer.written().files).sum();
    let changes: u64 = writers.iter().map(|(_, writer)| writer.written().changes).sum();
    if context.json {
        let shards: Vec<_> = writers
            .iter()
            .map(|(shard, writer)| {
                let written = writer.written();
                let through_seq = writer.archived_through();
                json!({
                    "shard": shard, "through_seq": through_seq,
                    "files": written.files, "changes": written.changes,
                    "head_entry": writer.head().map(|head| head.entry),
                    "head": writer.head().map(|head| head.sha256.to_string()),
                })
            })
            .collect();
        let value = json!({ "to": args.to, "files": files, "changes": changes, "shards": shards });
        context.output.json(&value)?;
        return Ok(());
    }
    for (shard, writer) in writers {
        let through = writer.archived_through();
        let written = writer.written();
        context.output.line(format!(
            "shard {shard}: through change {through}, {} new in {} files",
            written.changes, written.files
        ))?;
    }
    context.output.line(format!(
        "{changes} changes in {files} new files below {}",
        args.to
    ))?;
    Ok(())
}
