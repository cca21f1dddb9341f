//! `holdfast archive drill`: rebuilds all quantities from an archive, and compares them with the running
//! cluster at exactly the same change.

use anyhow::Context as _;
use futures::TryStreamExt as _;
use holdfast_changes::archive::Archive;
use holdfast_changes::drill::{CellDifference, Comparison, Drill, ShardDrill};
use holdfast_client::{Client, id_bytes, v1};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::changes::streams;
use crate::context::Context;

/// Arguments of `holdfast archive drill`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It adds up the archived changes of each shard from change 1 on, then those that a node has beyond the archive, up to
the change at which the node lists its stock. Both sides then stand at the same change, and digests of all quantities
are compared, and each cell. The cluster may be at work meanwhile. The exit code is 1 when anything differs. Memory
holds the cells of one shard.

Examples:
  holdfast archive drill --archive s3://bucket/lake"
)]
pub(crate) struct Args {
    /// Where the archive is: a folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    archive: String,
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
}

/// The result for one shard, and the last change that came from the archive.
struct Drilled {
    result: ShardDrill,
    archived_through: u64,
}

pub(crate) async fn run(args: &Args, context: &Context) -> anyhow::Result<()> {
    let archive = Archive::open_existing(&args.archive)?;
    let client = context.client()?;
    let (positions, cluster_id) = streams::positions_and_cluster(client, args.shard).await?;
    archive.check_owner(cluster_id).await?;
    let style = ProgressStyle::with_template("{msg} {human_pos} changes added up, {per_sec}");
    let progress =
        ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    let mut drilled = Vec::new();
    // One shard after the other, because each needs the memory of its cells.
    for position in &positions {
        progress.set_message(format!("shard {}", position.shard));
        drilled.push(drill(&archive, client, position.shard, cluster_id, &progress).await?);
    }
    progress.finish_and_clear();
    print(&drilled, context)
}

async fn drill(
    archive: &Archive,
    client: &Client,
    shard: u32,
    cluster_id: Uuid,
    progress: &ProgressBar,
) -> anyhow::Result<Drilled> {
    let mut drill = Drill::new(shard);
    let mut chain = archive.chain(shard).await?;
    while let Some(entry) = chain.next().await? {
        anyhow::ensure!(
            entry.entry > 1 || entry.first_seq == 1,
            "the archive of shard {shard} begins with change {}: without the changes before it, no stock can be rebuilt from it",
            entry.first_seq
        );
        for change in archive.read(&entry).await? {
            drill.observe(&change)?;
        }
        progress.inc(entry.rows);
    }
    let archived_through = drill.next_seq() - 1;

    let request = v1::ListStockRequest {
        shard: Some(shard),
        consistency: v1::Consistency::Linearizable.into(),
    };
    let mut listing = std::pin::pin!(client.list_stock(request));
    let mut message = listing.try_next().await?;
    let at_seq = message.as_ref().and_then(|message| message.read.as_ref());
    let at_seq = at_seq
        .with_context(|| format!("the listing of shard {shard} came without its position"))?
        .change_seq;
    anyhow::ensure!(
        archived_through <= at_seq,
        "the archive of shard {shard} ends with change {archived_through}, and the cluster has {at_seq}: the cluster has lost \
         changes, or this is not its archive"
    );
    let request = v1::TailChangesRequest {
        shard,
        from_seq: drill.next_seq(),
        cluster_id: id_bytes(cluster_id),
        ..v1::TailChangesRequest::default()
    };
    let mut rest = streams::through(client, request, at_seq);
    while let Some(message) = rest.try_next().await? {
        for change in message.changes.iter().take_while(|change| change.seq <= at_seq) {
            drill.observe(change)?;
        }
        progress.inc(message.changes.len() as u64);
    }
    anyhow::ensure!(
        drill.next_seq() == at_seq + 1,
        "the stream of shard {shard} ended before change {at_seq}"
    );
    let mut comparison: Comparison = drill.compare();
    while let Some(listed) = message {
        let listed_at = listed.read.as_ref().map(|read| read.change_seq);
        anyhow::ensure!(
            listed_at == Some(at_seq),
            "the listing of shard {shard} changed its position from {at_seq} to {listed_at:?}"
        );
        comparison.live(&listed.cells);
        message = listing.try_next().await?;
    }
    Ok(Drilled {
        result: comparison.end(),
        archived_through,
    })
}

fn print(drilled: &[Drilled], context: &Context) -> anyhow::Result<()> {
    let differing: u64 = drilled.iter().map(|shard| shard.result.difference_count).sum();
    let equal = drilled.iter().all(|shard| shard.result.equal);
    if context.json {
        let mut shards = Vec::new();
        for shard in drilled {
            let mut value = serde_json::to_value(&shard.result)?;
            if let Value::Object(fields) = &mut value {
                fields.insert("archived_through".to_owned(), json!(shard.archived_through));
            }
            shards.push(value);
        }
        context
            .output
            .json(&json!({ "equal": equal, "shards": shards }))?;
    } else {
        let row = |Drilled {
                       result,
                       archived_through,
                   }: &Drilled| {
            vec![
                result.shard.to_string(),
                archived_through.to_string(),
                result.at_seq.to_string(),
                result.cells.to_string(),
                result.rebuilt_digest.to_string(),
                result.live_digest.to_string(),
            ]
        };
        let rows: Vec<Vec<String>> = drilled.iter().map(row).collect();
        context.output.table(
            &[
                "SHARD",
                "ARCHIVED",
                "COMPARED AT",
                "CELLS",
                "DIGEST FROM ARCHIVE",
                "DIGEST OF CLUSTER",
            ],
            &rows,
        )?;
        for shard in drilled {
            for difference in &shard.result.differences {
                context.output.line(told(shard.result.shard, difference))?;
            }
            let more = shard.result.difference_count - shard.result.differences.len() as u64;
            if more > 0 {
                context
                    .output
                    .line(format!("shard {}: and {more} more cells", shard.result.shard))?;
            }
        }
        if equal {
            context
                .output
                .line("ok: the stock rebuilt from the archive is that of the cluster")?;
        }
    }
    anyhow::ensure!(
        equal,
        "{differing} cells differ between the archive and the cluster"
    );
    Ok(())
}

fn told(shard: u32, difference: &CellDifference) -> String {
    let CellDifference {
        sku,
        warehouse,
        rebuilt,
        live,
    } = difference;
    let side = |quantities: &Option<String>| quantities.clone().unwrap_or_else(|| "nothing".to_owned());
    format!(
        "shard {shard}: {sku} in {warehouse}: from the archive {}, in the cluster {}",
        side(rebuilt),
        side(live)
    )
}
