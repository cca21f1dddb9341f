//! Streams of shards, read up to a change or without end.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_client::{Client, v1};
use uuid::Uuid;

/// A stream of messages. Each holds the changes of whole entries, in order.
pub(crate) type Messages = BoxStream<'static, anyhow::Result<v1::TailChangesResponse>>;

/// Returns where the stream of each shard stands, for all shards or for one.
///
/// # Errors
/// When there is no such shard, or no node answers.
pub(crate) async fn positions(client: &Client, shard: Option<u32>) -> anyhow::Result<Vec<v1::ShardPosition>> {
    Ok(positions_and_cluster(client, shard).await?.0)
}

/// Like [`positions`], and returns also the id of the cluster.
///
/// # Errors
/// The same as for [`positions`].
pub(crate) async fn positions_and_cluster(
    client: &Client,
    shard: Option<u32>,
) -> anyhow::Result<(Vec<v1::ShardPosition>, Uuid)> {
    let v1::GetPositionsResponse {
        mut shards,
        mut cluster_id,
    } = client.get_positions(v1::GetPositionsRequest {}).await?;
    if cluster_id.is_empty() {
        // A node of the previous version does not send the id.
        cluster_id = client.refresh_topology().await?.cluster_id.clone();
    }
    let cluster_id = Uuid::from_slice(&cluster_id).context("the cluster did not say its id")?;
    if let Some(shard) = shard {
        let count = shards.len();
        shards.retain(|position| position.shard == shard);
        if shards.is_empty() {
            bail!("there is no shard {shard}: this cluster has {count}, counted from 0");
        }
    }
    Ok((shards, cluster_id))
}

/// Returns the changes that a request asks for, through the end of the entry of `last_seq`. Returns none when
/// the request begins after `last_seq`.
///
/// The replica that answers may be behind, so the stream is followed until it reaches `last_seq`. It is an
/// error when nothing comes for as long as the client's deadline.
pub(crate) fn through(client: &Client, request: v1::TailChangesRequest, last_seq: u64) -> Messages {
    let shard = request.shard;
    let mut next_seq = request.from_seq.max(1);
    let patience = client.options().deadline;
    let messages = client.tail_changes_matching(v1::TailChangesRequest {
        follow: true,
        ..request
    });
    let bounded = with_patience(messages.map_err(anyhow::Error::from), patience);
    let state = (Box::pin(bounded), next_seq > last_seq);
    futures::stream::try_unfold(state, move |(mut messages, done)| async move {
        if done {
            return Ok(None);
        }
        let message = messages.try_next().await.with_context(|| {
            format!(
                "the stream of shard {shard} did not reach change {last_seq}, the next one would be {next_seq}"
            )
        })?;
        let Some(message) = message else { return Ok(None) };
        next_seq = next_seq.max(message.through_seq.saturating_add(1));
        let done = next_seq > last_seq;
        Ok(Some((message, (messages, done))))
    })
    .boxed()
}

/// Returns the changes that a request asks for, and then new ones without end.
pub(crate) fn following(client: &Client, request: v1::TailChangesRequest) -> Messages {
    let messages = client.tail_changes_matching(v1::TailChangesRequest {
        follow: true,
        ..request
    });
    messages.map_err(anyhow::Error::from).boxed()
}

fn with_patience<S>(
    messages: S,
    patience: Duration,
) -> impl futures::Stream<Item = anyhow::Result<v1::TailChangesResponse>>
where
    S: futures::Stream<Item = anyhow::Result<v1::TailChangesResponse>> + Send + 'static,
{
    futures::stream::unfold(Box::pin(messages), move |mut messages| async move {
        let next = match tokio::time::timeout(patience, pin!(messages.next())).await {
            Ok(next) => next?,
            Err(_) => Err(anyhow::anyhow!("no changes came for {} s", patience.as_secs())),
        };
        Some((next, messages))
    })
}

/// Ends when the user or the system asks the process to stop.
pub(crate) async fn stop_requested() -> std::io::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminate.recv() => Ok(()),
    }
}
