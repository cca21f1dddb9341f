//! `holdfast changes tail`: changes as JSON lines.

use std::io::Write;
use std::path::PathBuf;

use futures::TryStreamExt as _;
use futures::stream::select_all;
use holdfast_changes::cursor::Cursors;
use holdfast_changes::json;
use holdfast_client::{id_bytes, v1};
use uuid::Uuid;

use super::streams::{self, Messages};
use crate::context::Context;

/// Arguments of `holdfast changes tail`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without --shard, the shards come one after the other, or mixed with --follow.

Examples:
  holdfast changes tail --shard 0 --from 100
  holdfast changes tail --sku SHIRT-1 --follow
  holdfast changes tail --follow --cursor ./cursor.json >> changes.jsonl"
)]
pub(crate) struct Args {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Begin with this change
    #[arg(long, value_name = "SEQ", default_value_t = 1, requires = "shard")]
    from: u64,
    /// Wait for new changes at the end
    #[arg(long)]
    follow: bool,
    /// Only changes of this reservation
    #[arg(long, value_name = "RESERVATION")]
    reservation: Option<Uuid>,
    /// Only changes of this SKU
    #[arg(long)]
    sku: Option<String>,
    /// A file that remembers what was printed: the next run continues after it. After a crash the last lines
    /// may come again; shard and seq identify them. The file belongs to one cluster and cannot be used with
    /// another
    #[arg(long, value_name = "FILE", conflicts_with_all = ["from", "reservation", "sku"])]
    cursor: Option<PathBuf>,
}

impl Args {
    fn request(&self, shard: u32, cursors: Option<&Cursors>, cluster_id: Uuid) -> v1::TailChangesRequest {
        v1::TailChangesRequest {
            shard,
            cluster_id: id_bytes(cluster_id),
            from_seq: cursors.map_or(self.from, |cursors| cursors.last_seq(shard) + 1),
            follow: self.follow,
            reservation_id: self.reservation.map(id_bytes).unwrap_or_default(),
            sku: self.sku.clone().unwrap_or_default(),
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match tail(args, context).await {
        Err(error) if is_closed_pipe(&error) => Ok(()),
        done => done,
    }
}

async fn tail(args: Args, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let (positions, cluster_id) = streams::positions_and_cluster(client, args.shard).await?;
    let mut cursors = match &args.cursor {
        Some(path) => Some(Cursors::open(path, cluster_id)?),
        None => None,
    };
    if let Some(cursors) = &cursors {
        positions
            .iter()
            .try_for_each(|position| cursors.check(position.shard, position.last_seq))?;
    }
    let tagged = |shard: u32, messages: Messages| messages.map_ok(move |message| (shard, message));
    if args.follow {
        let streams = positions.iter().map(|position| {
            let request = args.request(position.shard, cursors.as_ref(), cluster_id);
            tagged(position.shard, streams::following(client, request))
        });
        let mut messages = select_all(streams);
        let mut stop = std::pin::pin!(streams::stop_requested());
        loop {
            let next = tokio::select! {
                next = messages.try_next() => next?,
                stopped = &mut stop => { stopped?; None }
            };
            let Some((shard, message)) = next else {
                return Ok(());
            };
            print(shard, message, cursors.as_mut())?;
        }
    }
    for position in positions {
        let request = args.request(position.shard, cursors.as_ref(), cluster_id);
        let mut messages = streams::through(client, request, position.last_seq);
        while let Some(message) = messages.try_next().await? {
            print(position.shard, message, cursors.as_mut())?;
        }
    }
    Ok(())
}

fn print(shard: u32, message: v1::TailChangesResponse, cursors: Option<&mut Cursors>) -> anyhow::Result<()> {
    let changes = message.changes;
    let Some(cursors) = cursors else {
        return write(&changes);
    };
    let new = cursors.admit(shard, changes)?;
    write(&new)?;
    if !new.is_empty() {
        cursors.save()?;
    }
    Ok(())
}

/// Prints the changes of one message at once, so that a cursor never stands inside a message.
fn write(changes: &[v1::Change]) -> anyhow::Result<()> {
    let mut lines = String::new();
    for change in changes {
        lines.push_str(&json::encode(change)?);
        lines.push('\n');
    }
    let mut out = std::io::stdout().lock();
    out.write_all(lines.as_bytes())?;
    Ok(out.flush()?)
}

/// Returns whether the reader has closed our output, as `head` does. That is a normal end.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}
