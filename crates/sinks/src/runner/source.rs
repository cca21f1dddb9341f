//! The changes of a shard from some change on: from an archive as far as the nodes have dropped them, and
//! then from the stream.

use futures::TryStreamExt as _;
use holdfast_api::v1::{ArchiveLocation, Change, Reason, TailChangesRequest};
use holdfast_changes::archive::{Archive, ArchiveError};
use holdfast_client::{ClientError, id_bytes};
use tokio::sync::mpsc;

use super::Cluster;
use crate::entries::whole_entries;
use crate::sink::SinkError;

/// The changes of an archived file that go into the queue together, at least one entry. A file can have
/// millions, and the queue is bounded by messages.
const MESSAGE_CHANGES: usize = 1_024;

/// Changes of whole entries, or the reason why no more come.
pub(super) type Batch = Result<Vec<Change>, SinkError>;

/// Reads into the queue. Ends with an error in the queue, or when nobody reads it any more.
pub(super) async fn read(cluster: Cluster, shard: u32, from_seq: u64, queue: mpsc::Sender<Batch>) {
    let mut next_seq = from_seq;
    let Err(error) = read_on(&cluster, shard, &mut next_seq, &queue).await else {
        return;
    };
    // Nobody reads it any more: there is nobody to tell.
    let _ = queue.send(Err(error)).await;
}

/// Returns Ok when nobody reads the queue any more.
async fn read_on(
    cluster: &Cluster,
    shard: u32,
    next_seq: &mut u64,
    queue: &mpsc::Sender<Batch>,
) -> Result<(), SinkError> {
    loop {
        let dropped = match follow(cluster, shard, next_seq, queue).await {
            Err(SinkError::Stream(ClientError::Refused(refusal)))
                if refusal.reason() == Reason::PositionTooOld && !refusal.archives.is_empty() =>
            {
                refusal
            }
            ended => return ended,
        };
        let before = *next_seq;
        for archive in &dropped.archives {
            replay(cluster, shard, next_seq, archive, queue).await?;
            if queue.is_closed() {
                return Ok(());
            }
            if *next_seq > before {
                break;
            }
        }
        if *next_seq == before {
            return Err(SinkError::Refused {
                what: format!(
                    "the nodes have dropped the changes from {before} of shard {shard}, and no registered archive has them"
                ),
                advice: "see `holdfast changes consumers list` and `holdfast archive verify`".to_owned(),
            });
        }
    }
}

/// Follows the stream.
async fn follow(
    cluster: &Cluster,
    shard: u32,
    next_seq: &mut u64,
    queue: &mpsc::Sender<Batch>,
) -> Result<(), SinkError> {
    let request = TailChangesRequest {
        shard,
        from_seq: *next_seq,
        follow: true,
        cluster_id: id_bytes(cluster.cluster_id),
        ..TailChangesRequest::default()
    };
    let mut messages = std::pin::pin!(cluster.client.tail_changes_matching(request));
    while let Some(message) = messages.try_next().await? {
        *next_seq = (*next_seq).max(message.through_seq.saturating_add(1));
        if queue.send(Ok(message.changes)).await.is_err() {
            return Ok(());
        }
    }
    Err(SinkError::Unavailable {
        what: "the change stream ended".to_owned(),
        retry_after_ms: 0,
    })
}

/// Reads an archive from a change on, to its end.
async fn replay(
    cluster: &Cluster,
    shard: u32,
    next_seq: &mut u64,
    location: &ArchiveLocation,
    queue: &mpsc::Sender<Batch>,
) -> Result<(), SinkError> {
    let place = &location.location;
    let failed = |error: ArchiveError| SinkError::Refused {
        what: format!(
            "the nodes have dropped change {next_seq} of shard {shard}, and the archive {place} cannot be read: {error}"
        ),
        advice: "let this process read the archive there".to_owned(),
    };
    tracing::info!(shard, from_seq = *next_seq, archive = %place, "reading what the nodes have dropped");
    let archive = Archive::open_existing(place).map_err(&failed)?;
    archive.check_owner(cluster.cluster_id).await.map_err(&failed)?;
    let mut chain = archive.chain(shard).await.map_err(&failed)?;
    let mut reached = *next_seq;
    while let Some(entry) = chain.next().await.map_err(&failed)? {
        if entry.last_seq < reached {
            continue;
        }
        let mut changes = archive.read(&entry).await.map_err(&failed)?;
        changes.retain(|change| change.seq >= reached);
        reached = entry.last_seq.saturating_add(1);
        let mut rest = changes.into_iter();
        while !rest.as_slice().is_empty() {
            let count = whole_entries(rest.as_slice(), MESSAGE_CHANGES);
            let message = rest.by_ref().take(count).collect();
            if queue.send(Ok(message)).await.is_err() {
                return Ok(());
            }
        }
    }
    *next_seq = reached;
    Ok(())
}
