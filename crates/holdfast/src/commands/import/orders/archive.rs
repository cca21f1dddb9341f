//! The archive of changes, as the engine of imports wants to read it.

use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_changes::archive::{Archive, Format};
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
    let archive = Archive::open_existing(place, Format::Parquet)?;
    archive.check_owner(Uuid::from_slice(cluster_id)?).await?;
    Ok(Some(archive))
}

/// Returns the files of a shard that have changes from `from_seq` on, in order, each as its changes.
pub(super) fn files_from(
    archive: &Archive,
    shard: u32,
    from_seq: u64,
) -> BoxStream<'_, Result<Vec<v1::Change>, ArchiveFailure>> {
    stream::once(archive.files(shard))
        .map_ok(move |files| {
            let needed = files.into_iter().filter(move |file| file.last_seq >= from_seq);
            stream::iter(needed).then(move |file| async move { archive.read(&file).await })
        })
        .try_flatten()
        .err_into()
        .boxed()
}
