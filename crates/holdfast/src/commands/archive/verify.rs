//! `holdfast archive verify`: reads all of an archive and names everything that is wrong with it.

use std::path::PathBuf;

use anyhow::Context as _;
use holdfast_changes::archive::{Archive, Proof, ProvenShard};
use indicatif::{ProgressBar, ProgressStyle};

use crate::context::Context;

/// Arguments of `holdfast archive verify`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It reads every file and every manifest entry, and asks no node. It finds what is missing, changed, renamed, replaced
or out of order, and in a bucket with versions also what a delete marker or a newer version hides. The exit code is 1
when anything was found.

The files alone cannot show that the newest ones were removed together with their entries, or that somebody rewrote
the history as a whole. Keep the output of --json in another place, and give it with --earlier the next time.

Examples:
  holdfast archive verify --archive s3://bucket/lake
  holdfast archive verify --archive s3://bucket/lake --json > proof-2026-12.json
  holdfast archive verify --archive s3://bucket/lake --earlier proof-2026-12.json"
)]
pub(crate) struct Args {
    /// Where the archive is: a folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    archive: String,
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// The output of an earlier run with --json. Its last manifest entries must be in the archive still
    #[arg(long, value_name = "FILE")]
    earlier: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let archive = Archive::open_existing(&args.archive)?;
    let earlier = match &args.earlier {
        Some(file) => read_earlier(file)?,
        None => Vec::new(),
    };
    let style = ProgressStyle::with_template("{spinner} {human_pos} changes proven, {per_sec}");
    let progress =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let proof = archive
        .prove(args.shard, &earlier, &mut |changes| progress.inc(changes))
        .await?;
    progress.finish_and_clear();
    anyhow::ensure!(
        !proof.shards.is_empty() || !proof.ok,
        "there are no archived changes of it in {}",
        args.archive
    );
    print(&proof, context)
}

fn read_earlier(file: &PathBuf) -> anyhow::Result<Vec<ProvenShard>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let proof: Proof = serde_json::from_str(&text)
        .with_context(|| format!("{} is not the output of `archive verify --json`", file.display()))?;
    Ok(proof.shards)
}

fn print(proof: &Proof, context: &Context) -> anyhow::Result<()> {
    if context.json {
        context.output.json(proof)?;
    } else {
        let row = |shard: &ProvenShard| {
            let head = shard.head.map(|head| head.to_string()).unwrap_or_default();
            vec![
                shard.shard.to_string(),
                shard.first_seq.to_string(),
                shard.last_seq.to_string(),
                shard.entries.to_string(),
                shard.bytes.to_string(),
                head,
            ]
        };
        let rows: Vec<Vec<String>> = proof.shards.iter().map(row).collect();
        context.output.table(
            &[
                "SHARD",
                "FIRST CHANGE",
                "LAST CHANGE",
                "FILES",
                "BYTES",
                "HASH OF LAST ENTRY",
            ],
            &rows,
        )?;
        for fault in &proof.faults {
            context.output.line(format!("{}: {}", fault.path, fault.what))?;
        }
        let more = proof.fault_count - proof.faults.len() as u64;
        if more > 0 {
            context.output.line(format!("and {more} more"))?;
        }
        for late in proof.shards.iter().filter(|shard| shard.first_seq > 1) {
            context.output.note(format!(
                "shard {}: the archive begins with change {}, and proves nothing about the changes before",
                late.shard, late.first_seq
            ));
        }
        if proof.left_over > 0 {
            context.output.note(format!(
                "{} files are in no manifest entry; exports that were interrupted or slower left them, and nobody reads them",
                proof.left_over
            ));
        }
        if !proof.has_versions {
            context.output.note(
                "the store gave no versions, so only what is there now was looked at, and a file can be deleted by whoever may \
                 write there"
                    .to_owned(),
            );
        }
        if proof.ok {
            context
                .output
                .line("ok: nothing missing, changed, renamed, replaced or out of order")?;
        }
    }
    anyhow::ensure!(
        proof.ok,
        "{} things are wrong with the archive",
        proof.fault_count
    );
    Ok(())
}
