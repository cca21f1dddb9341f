//! `holdfast changes export`: writes changes to files that never change afterwards.

use std::time::Duration;

use clap::ValueEnum;
use futures::TryStreamExt as _;
use futures::future::try_join_all;
use holdfast_changes::archive::{Archive, Belongs, Cut, Format, Span, Spans, Writer};
use holdfast_client::{Client, id_bytes, v1};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::streams;
use crate::arguments::duration;
use crate::context::Context;

/// Arguments of `holdfast changes export`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Files are named by shard and range of changes, and written once:
  changes/shard=0003/0003-00000000000000000001-00000000000000004096.parquet
Running it again goes on behind the last file. The archive is of one cluster: another one, also one that was restored
from a backup, refuses it. Several exports to one place do no harm. An object store takes its credentials, region and endpoint from
the AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT variables (AWS_ALLOW_HTTP=true for http).

Examples:
  holdfast changes export --to ./lake --format parquet
  holdfast changes export --to s3://bucket/holdfast --format parquet --follow"
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
    /// With --follow: close a file when its oldest change has waited this long
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration)]
    max_wait: Duration,
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
    let archive = Archive::open(&args.to, args.format.into())?;
    let (positions, cluster_id) = streams::positions_and_cluster(client, args.shard).await?;
    take(&archive, client, &positions, cluster_id).await?;
    let cut = Cut {
        rows: usize::try_from(args.rows_per_file)?,
        age: args.max_wait,
    };
    let stop = CancellationToken::new();
    let progress = progress();
    let shards = positions.iter().map(|position| async {
        let mut writer = archive.writer(position.shard, cut).await?;
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

/// Claims the archive for this cluster, or refuses an archive of another cluster.
async fn take(
    archive: &Archive,
    client: &Client,
    positions: &[v1::ShardPosition],
    cluster_id: Uuid,
) -> anyhow::Result<()> {
    let spans: Spans = positions
        .iter()
        .map(|position| {
            let span = Span {
                first_seq: position.first_seq,
                last_seq: position.last_seq,
            };
            (position.shard, span)
        })
        .collect();
    if archive.belong_to(cluster_id, &spans).await? == Belongs::Yes {
        return Ok(());
    }
    // The archive does not name its cluster. Compare the last archived change of each shard with the
    // cluster's stream.
    for shard in spans.keys() {
        let Some(file) = archive.files(*shard).await?.last().copied() else {
            continue;
        };
        let archived = archive.read(&file).await?.pop();
        let request = v1::TailChangesRequest {
            shard: *shard,
            from_seq: file.last_seq,
            ..v1::TailChangesRequest::default()
        };
        let mut messages = streams::through(client, request, file.last_seq);
        let mut found = None;
        while let Some(message) = messages.try_next().await? {
            found = found.or(message
                .changes
                .into_iter()
                .find(|change| change.seq == file.last_seq));
        }
        anyhow::ensure!(
            archived.is_some() && archived == found,
            "the archive does not say whose it is, and its change {} of shard {shard} is not the one of cluster {cluster_id}: \
             it holds the history of another cluster; give a place of its own",
            file.last_seq
        );
    }
    Ok(archive.adopt(cluster_id).await?)
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

/// Returns the last change that is in the archive.
fn archived_through(writer: &Writer) -> u64 {
    writer.next_seq() - 1 - writer.waiting() as u64
}

fn report(writers: &[(u32, Writer)], args: &Args, context: &Context) -> anyhow::Result<()> {
    let files: u64 = writers.iter().map(|(_, writer)| writer.written().files).sum();
    let changes: u64 = writers.iter().map(|(_, writer)| writer.written().changes).sum();
    if context.json {
        let shards: Vec<_> = writers
            .iter()
            .map(|(shard, writer)| {
                let written = writer.written();
                let through_seq = archived_through(writer);
                json!({
                    "shard": shard, "through_seq": through_seq,
                    "files": written.files, "changes": written.changes,
                })
            })
            .collect();
        let value = json!({ "to": args.to, "files": files, "changes": changes, "shards": shards });
        context.output.json(&value)?;
        return Ok(());
    }
    for (shard, writer) in writers {
        let through = archived_through(writer);
        let written = writer.written();
        context.output.line(format!(
            "shard {shard}: through change {through}, {} new in {} files",
            written.changes, written.files
        ))?;
    }
    let waiting: usize = writers.iter().map(|(_, writer)| writer.waiting()).sum();
    if waiting > 0 {
        context.output.note(format!(
            "{waiting} changes belong to files that another export has begun: that export, or the next one, \
             will write them"
        ));
    }
    context.output.line(format!(
        "{changes} changes in {files} new files below {}",
        args.to
    ))?;
    Ok(())
}
