//! `holdfast verify`: checks that the ledger is right.

mod archived;
mod live;
mod unsettled;

use holdfast_changes::verify::{Report, Verifier};
use indicatif::{ProgressBar, ProgressStyle};

use super::changes::{older, streams};
use crate::context::Context;

/// Arguments of `holdfast verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It reads only the change streams, adds them up by arithmetic of its own, and says whether anything was
oversold, lost, doubled or out of sequence, and whether orders over several shards are all or nothing. Then it compares
each cell with the live stock, at exactly the same change. The cluster may be at work meanwhile: what is on its way
between shards is followed until it is settled. The exit code is 1 when anything was found. What does not fit into
memory waits in temporary files below TMPDIR. Changes that the nodes have dropped are read from the registered archive.

Examples:
  holdfast verify
  holdfast verify --json
  holdfast verify --archive ./lake"
)]
pub(crate) struct Args {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Read an archive instead of the streams: a folder, file:///folder or s3://bucket/prefix.
    /// The live stock is not compared
    #[arg(long, value_name = "URL|FOLDER")]
    archive: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut verifier = Verifier::new();
    let progress = progress();
    match &args.archive {
        Some(place) => archived::verify(place, args.shard, &mut verifier, &progress).await?,
        None => {
            let client = context.client()?;
            let positions = streams::positions(client, args.shard).await?;
            let older = older::archive(context, &positions, None).await?;
            progress.set_length(positions.iter().map(|position| position.last_seq).sum());
            for position in positions {
                progress.set_message(format!("shard {}", position.shard));
                let older = older.as_ref().filter(|_| position.first_seq > 1);
                live::verify(client, &position, older, &mut verifier, &progress).await?;
            }
            progress.set_message("orders");
            unsettled::follow(client, &mut verifier).await?;
        }
    }
    progress.set_message("operations");
    let report = verifier.finish()?;
    progress.finish_and_clear();
    print(&report, context)
}

fn progress() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} changes, {per_sec}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn print(report: &Report, context: &Context) -> anyhow::Result<()> {
    if context.json {
        context.output.json(report)?;
    } else {
        context.output.line(report.to_string())?;
    }
    let found: u64 = report.counts.values().sum();
    anyhow::ensure!(report.ok, "verification found {found} things that are wrong");
    Ok(())
}
