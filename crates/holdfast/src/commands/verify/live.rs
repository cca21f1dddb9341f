//! Verification of one shard of a running cluster: its stream, then its live stock at exactly the change that
//! the replay has reached.

use anyhow::Context as _;
use futures::TryStreamExt as _;
use holdfast_changes::archive::Archive;
use holdfast_changes::verify::{ShardReplay, Verifier};
use holdfast_client::{Client, v1};
use indicatif::ProgressBar;

use super::super::changes::streams;
use super::archived::replay_files;

pub(super) async fn verify(
    client: &Client,
    position: &v1::ShardPosition,
    older: Option<&Archive>,
    verifier: &mut Verifier,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let mut replay = verifier.shard(position.shard);
    if let Some(archive) = older {
        // The archive goes further than the first change on the nodes, which may drop more meanwhile.
        let mut chain = archive.chain(position.shard).await?;
        replay_files(archive, &mut chain, position.last_seq, &mut replay, progress).await?;
    }
    catch_up(client, position.shard, position.last_seq, &mut replay, progress).await?;
    compare(client, position.shard, &mut replay, progress).await?;
    replay.end()?;
    Ok(())
}

/// Replays the stream through exactly this change, which must be the last one of an entry.
async fn catch_up(
    client: &Client,
    shard: u32,
    last_seq: u64,
    replay: &mut ShardReplay<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let from_seq = replay.last_seq() + 1;
    let request = v1::TailChangesRequest {
        shard,
        from_seq,
        ..v1::TailChangesRequest::default()
    };
    let mut messages = streams::through(client, request, last_seq);
    while let Some(message) = messages.try_next().await? {
        for change in message.changes.iter().take_while(|change| change.seq <= last_seq) {
            replay.observe(change)?;
        }
        progress.inc(message.changes.len() as u64);
    }
    replay.expect_through(last_seq);
    Ok(())
}

async fn compare(
    client: &Client,
    shard: u32,
    replay: &mut ShardReplay<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    let request = v1::ListStockRequest {
        shard: Some(shard),
        consistency: v1::Consistency::Linearizable.into(),
    };
    let mut listing = std::pin::pin!(client.list_stock(request));
    let mut at_seq = None;
    while let Some(message) = listing.try_next().await? {
        let read = message
            .read
            .as_ref()
            .context("a listing came without its position")?;
        if at_seq.is_none() {
            // The cluster goes on meanwhile: replay up to the change at which the listing was made.
            catch_up(client, shard, read.change_seq, replay, progress).await?;
            at_seq = Some(read.change_seq);
        }
        anyhow::ensure!(
            at_seq == Some(read.change_seq),
            "the listing of shard {shard} changed its position from {at_seq:?} to {}",
            read.change_seq
        );
        replay.compare_live(read.change_seq, &message.cells);
    }
    at_seq.with_context(|| format!("the listing of shard {shard} is empty, without a position"))?;
    replay.end_live();
    Ok(())
}
