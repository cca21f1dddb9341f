//! Changes that nodes have dropped, from the archive that a required consumer fills.

use anyhow::Context as _;
use holdfast_changes::archive::Archive;
use holdfast_client::v1;

use super::streams;
use crate::context::Context;

/// Opens the archive of the changes before those that the nodes begin with: the one at `given`, or else the one
/// that a required consumer names. Returns None when the nodes have all changes, and when no archive is known.
///
/// # Errors
/// When the archive cannot be opened or belongs to another cluster, or when no node answers.
pub(crate) async fn archive(
    context: &Context,
    positions: &[v1::ShardPosition],
    given: Option<&str>,
) -> anyhow::Result<Option<Archive>> {
    let place = match given {
        Some(place) => place.to_owned(),
        None if positions.iter().all(|position| position.first_seq <= 1) => return Ok(None),
        None => match location(context, positions).await? {
            Some(location) => location,
            None => return Ok(None),
        },
    };
    let (_, cluster_id) = streams::positions_and_cluster(context.client()?, None).await?;
    let archive = open(&place)?;
    archive.check_owner(cluster_id).await?;
    Ok(Some(archive))
}

/// Opens the archive at a place that a node named.
///
/// # Errors
/// When it cannot be opened from here.
pub(crate) fn open(place: &str) -> anyhow::Result<Archive> {
    Archive::open_existing(place).with_context(|| {
        format!(
            "nodes have dropped their oldest changes, and the archive at {place} cannot be opened from here: if it can \
             be reached in another way, name it with --archive"
        )
    })
}

/// Finds the location of a required consumer that has passed everything that the nodes have dropped.
async fn location(context: &Context, positions: &[v1::ShardPosition]) -> anyhow::Result<Option<String>> {
    let request = v1::ListConsumersRequest {};
    let consumers = context.client()?.list_consumers(request).await?.consumers;
    let candidates = consumers
        .iter()
        .filter(|consumer| consumer.required && !consumer.location.is_empty());
    let has_all = |candidate: &&v1::Consumer| {
        positions.iter().all(|position| {
            let there = consumers
                .iter()
                .find(|consumer| consumer.name == candidate.name && consumer.shard == position.shard);
            there.is_some_and(|consumer| consumer.through_seq + 1 >= position.first_seq)
        })
    };
    Ok(candidates
        .into_iter()
        .find(has_all)
        .map(|consumer| consumer.location.clone()))
}
