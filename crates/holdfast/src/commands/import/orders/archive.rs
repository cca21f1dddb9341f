//! The archive of changes, as the engine of imports wants to read it.

use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_changes::archive::Archive;
use holdfast_client::v1;
use holdfast_feeds::import::ArchiveFailure;
use uuid::Uuid;

/// Opens the archive at this place, if one was named. It must be the archive of this cluster.
///
/// # Errors
/// When the place cannot be read, or when the archive is that of another cluster.
pub(super) async fn open(place: Option<&str>, cluster_id: &[u8]) -> anyhow::Result<Option<Archive>> {
    let Some(place) = place else {
        return Ok(None);
    };
    let archive = Archive::open_existing(place)?;
    archive.check_owner(Uuid::from_slice(cluster_id)?).await?;
    Ok(Some(archive))
}

/// Returns the files of a shard that have changes from `from_seq` on, in order, each as its changes.
pub(super) fn files_from(
    archive: &Archive,
    shard: u32,
    from_seq: u64,
) -> BoxStream<'_, Result<Vec<v1::Change>, ArchiveFailure>> {
    let needed = stream::once(archive.chain(shard))
        .map_ok(|chain| {
            stream::try_unfold(chain, |mut chain| async {
                let entry = chain.next().await?;
                Ok(entry.map(|entry| (entry, chain)))
            })
        })
        .try_flatten()
        .try_filter(move |entry| std::future::ready(entry.last_seq >= from_seq));
    needed
        .and_then(move |entry| async move { archive.read(&entry).await })
        .err_into()
        .boxed()
}
