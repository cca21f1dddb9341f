//! Reads of one shard up to a moment: first its archive, then a node's stream from exactly the next change
//! on.

use anyhow::Context as _;
use futures::TryStreamExt as _;
use holdfast_changes::archive::Archive;
use holdfast_changes::as_of::{AsOfError, Reading, Subject, read_archive};
use holdfast_client::{id_bytes, v1};

use super::super::changes::streams;
use super::moment::Moment;
use crate::context::Context;
use crate::{clock, render};

/// Returns the subject as it stood. The cluster is asked only when the archive ends before the moment.
pub(super) async fn read<S: Subject>(
    archive: &Archive,
    shard: u32,
    moment: Moment,
    subject: S,
    context: &Context,
) -> anyhow::Result<Result<(v1::AsOf, S), AsOfError>> {
    let mut reading = Reading::new(shard, moment.at(), subject);
    read_archive(archive, &mut reading).await?;
    if !reading.is_passed() {
        go_on(archive, &mut reading, moment, context)
            .await
            .with_context(|| {
                format!(
                    "the archive of shard {shard} ends before change {}",
                    reading.next_seq()
                )
            })?;
    }
    Ok(reading.finish())
}

async fn go_on<S: Subject>(
    archive: &Archive,
    reading: &mut Reading<S>,
    moment: Moment,
    context: &Context,
) -> anyhow::Result<()> {
    let client = context.client()?;
    let (shard, from_seq) = (reading.shard(), reading.next_seq());
    let (positions, cluster_id) = streams::positions_and_cluster(client, Some(shard)).await?;
    archive.check_owner(cluster_id).await?;
    let position = positions
        .first()
        .context("the cluster did not say where its stream ends")?;
    let through_seq = match moment {
        // The reading itself reports a change that does not exist yet.
        Moment::Position(asked) if asked.seq > position.last_seq => return Ok(()),
        Moment::Position(asked) => asked.seq,
        Moment::LogTimeMs(at_ms) => {
            anyhow::ensure!(
                at_ms <= position.log_time_ms.max(wall_clock_ms()),
                "{} has not come yet",
                render::time(at_ms)
            );
            position.last_seq
        }
    };
    anyhow::ensure!(
        position.first_seq <= from_seq,
        "the nodes begin with change {}, and neither the archive nor a node has the changes from {from_seq} to that one",
        position.first_seq
    );
    let request = v1::TailChangesRequest {
        shard,
        from_seq,
        cluster_id: id_bytes(cluster_id),
        ..v1::TailChangesRequest::default()
    };
    let mut messages = streams::through(client, request, through_seq);
    while !reading.is_passed()
        && let Some(message) = messages.try_next().await?
    {
        for change in message
            .changes
            .iter()
            .take_while(|change| change.seq <= through_seq)
        {
            reading.observe(change)?;
        }
    }
    Ok(())
}

/// Returns this machine's time, with which a person's time is compared.
fn wall_clock_ms() -> u64 {
    clock::since_epoch().map_or(0, |time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
