//! Verification of an archive instead of the streams.

use holdfast_changes::archive::{Archive, Chain};
use holdfast_changes::verify::{ShardReplay, Verifier};
use indicatif::ProgressBar;

/// Longest time that an order may be unsettled at the end of an archive. Files of different shards end at
/// different moments. A decision reaches all shards of an order within seconds, so an order that is unsettled
/// for longer is stuck.
const IN_FLIGHT_MS: u64 = 60_000;

pub(super) async fn verify(
    place: &str,
    shard: Option<u32>,
    verifier: &mut Verifier,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    verifier.allow_in_flight(IN_FLIGHT_MS);
    let archive = Archive::open_existing(place)?;
    let mut shards = archive.shards().await?;
    shards.retain(|one| shard.is_none_or(|wanted| wanted == *one));
    anyhow::ensure!(
        !shards.is_empty(),
        "there are no archived changes of it in {place}"
    );
    for shard in shards {
        progress.set_message(format!("shard {shard}"));
        let last = archive.last_entry(shard).await?;
        progress.inc_length(last.map_or(0, |(entry, _)| entry.last_seq));
        let mut replay = verifier.shard(shard);
        let mut chain = archive.chain(shard).await?;
        replay_files(&archive, &mut chain, u64::MAX, &mut replay, progress).await?;
        replay.end()?;
    }
    Ok(())
}

/// Replays the changes of archived files, up to the last file that ends at `last_seq` or before.
pub(super) async fn replay_files(
    archive: &Archive,
    chain: &mut Chain,
    last_seq: u64,
    replay: &mut ShardReplay<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    while let Some(entry) = chain.next().await?.filter(|entry| entry.last_seq <= last_seq) {
        let changes = archive.read(&entry).await?;
        for change in &changes {
            replay.observe(change)?;
        }
        progress.inc(changes.len() as u64);
    }
    Ok(())
}
