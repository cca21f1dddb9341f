//! Verification of an archive instead of the streams.

use holdfast_changes::archive::{Archive, ArchivedFile, Format};
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
    let archive = Archive::open_existing(place, Format::Parquet)?;
    let mut shards = archive.shards().await?;
    shards.retain(|one| shard.is_none_or(|wanted| wanted == *one));
    anyhow::ensure!(
        !shards.is_empty(),
        "there are no archived changes of it in {place}"
    );
    for shard in shards {
        progress.set_message(format!("shard {shard}"));
        let files = archive.files(shard).await?;
        progress.inc_length(files.last().map_or(0, |file| file.last_seq));
        let mut replay = verifier.shard(shard);
        replay_files(&archive, &files, &mut replay, progress).await?;
        replay.end()?;
    }
    Ok(())
}

/// Replays the changes of archived files.
pub(super) async fn replay_files(
    archive: &Archive,
    files: &[ArchivedFile],
    replay: &mut ShardReplay<'_>,
    progress: &ProgressBar,
) -> anyhow::Result<()> {
    for file in files {
        let changes = archive.read(file).await?;
        for change in &changes {
            replay.observe(change)?;
        }
        progress.inc(changes.len() as u64);
    }
    Ok(())
}
