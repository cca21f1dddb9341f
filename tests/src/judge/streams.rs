//! The change streams of all nodes, at the end.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use anyhow::{Context as _, Result};
use holdfast_api::v1;
use holdfast_api::v1::changes_client::ChangesClient;
use holdfast_check::{Differs, Sums, first_gap};
use holdfast_client::Client;
use prost::Message as _;

use super::Effects;
use crate::history::At;
use crate::{Cluster, wait_for};

/// The content of the streams.
#[derive(Debug, Default)]
pub struct Streams {
    /// The places where each operation took effect.
    pub effects: Effects,
    /// Changes that are the same on all nodes.
    pub changes: u64,
    /// Faults of the streams that cannot be explained.
    pub wrong: Vec<String>,
}

/// Reads the streams of all shards from each node that runs, up to their present ends.
///
/// # Errors
/// When a node does not serve them within a minute.
pub async fn read(cluster: &Cluster, client: &Client) -> Result<Streams> {
    let mut streams = Streams::default();
    let positions = client.get_positions(v1::GetPositionsRequest {}).await?;
    for position in positions.shards {
        let mut first: Option<Stream> = None;
        for node in cluster.running() {
            let stream = of_node(cluster, node, &position).await?;
            let whose = format!("shard {}, node {}", position.shard, node + 1);
            let wrong = stream.wrong.iter().map(|what| format!("{whose}: {what}"));
            streams.wrong.extend(wrong);
            if let Some(gap) = first_gap(1, stream.seqs.iter().copied()) {
                let what = format!("{whose}: change {} where {} had to come", gap.found, gap.expected);
                streams.wrong.push(what);
            }
            match &first {
                None => first = Some(stream),
                Some(first) if first.digests == stream.digests => {}
                Some(_) => streams
                    .wrong
                    .push(format!("{whose}: not what the first node has")),
            }
        }
        let first = first.context("no node runs")?;
        streams.changes += first.seqs.len() as u64;
        for (id, places) in first.effects {
            streams.effects.entry(id).or_default().extend(places);
        }
    }
    Ok(streams)
}

async fn of_node(cluster: &Cluster, node: usize, position: &v1::ShardPosition) -> Result<Stream> {
    let channel = cluster.channel(node)?;
    let stream = tokio::sync::Mutex::new(Stream::default());
    wait_for("a node has all changes", || async {
        let mut stream = stream.lock().await;
        let request = v1::TailChangesRequest {
            shard: position.shard,
            from_seq: stream.next_seq(),
            ..Default::default()
        };
        let mut client = ChangesClient::new(channel.clone()).max_decoding_message_size(64 << 20);
        let mut answers = client.tail_changes(request).await.ok()?.into_inner();
        while let Ok(Some(answer)) = answers.message().await {
            for change in answer.changes {
                if change.seq <= position.last_seq {
                    stream.take(&change);
                }
            }
        }
        (stream.next_seq() > position.last_seq).then_some(())
    })
    .await
    .with_context(|| format!("node {}, shard {}", node + 1, position.shard))?;
    Ok(stream.into_inner())
}

/// The stream of one shard.
#[derive(Debug, Default)]
struct Stream {
    seqs: Vec<u64>,
    /// Digest of each change, with everything that is in it.
    digests: Vec<u64>,
    effects: Effects,
    /// Sums by SKU, warehouse, storefront of the pool, and bucket.
    sums: Sums<(String, String, String, i32)>,
    /// The entry of the last change, and how many of its changes are still to come.
    entry: (u64, u32),
    wrong: Vec<String>,
}

impl Stream {
    fn next_seq(&self) -> u64 {
        self.seqs.last().map_or(1, |last| last + 1)
    }

    fn take(&mut self, change: &v1::Change) {
        self.seqs.push(change.seq);
        let mut hasher = DefaultHasher::new();
        change.encode_to_vec().hash(&mut hasher);
        self.digests.push(hasher.finish());

        let (entry, left) = self.entry;
        let is_next = match left {
            0 => change.entry_offset == 0 && change.log_index > entry,
            left => change.log_index == entry && change.entry_offset + left == change.entry_changes,
        };
        if !is_next {
            self.wrong.push(format!("an entry is torn before {change:?}"));
        }
        self.entry = (
            change.log_index,
            change.entry_changes.saturating_sub(change.entry_offset + 1),
        );

        let id = change
            .cause
            .as_ref()
            .map(|cause| cause.operation_id.clone())
            .unwrap_or_default();
        if !id.is_empty() {
            let at = At {
                shard: change.shard,
                log_index: change.log_index,
            };
            self.effects.entry(id).or_default().insert(at);
        }
        for moved in &change.moves {
            let pool = match moved.bucket() {
                v1::Bucket::Pool => change.storefront.clone(),
                _ => String::new(),
            };
            let place = (change.sku.clone(), change.warehouse.clone(), pool, moved.bucket);
            if let Err(Differs { sum, said }) = self.sums.moved(place, moved.delta, moved.after) {
                self.wrong
                    .push(format!("after {sum} units the change says {said}: {change:?}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use bytes::Bytes;

    use super::*;

    fn change(seq: u64, log_index: u64, (offset, changes): (u32, u32), delta: i64, after: i64) -> v1::Change {
        v1::Change {
            seq,
            log_index,
            entry_offset: offset,
            entry_changes: changes,
            sku: "tea".to_owned(),
            warehouse: "LDN-1".to_owned(),
            moves: vec![v1::BucketMove {
                bucket: v1::Bucket::Free.into(),
                delta,
                after,
            }],
            cause: Some(v1::Cause {
                operation_id: Bytes::from(vec![log_index as u8; 16]),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn stream(changes: &[v1::Change]) -> Stream {
        let mut stream = Stream::default();
        changes.iter().for_each(|change| stream.take(change));
        stream
    }

    #[test]
    fn whole_entries_that_add_up_pass_and_tell_where_operations_took_effect() {
        let good = stream(&[
            change(1, 4, (0, 1), 5, 5),
            change(2, 7, (0, 2), -1, 4),
            change(3, 7, (1, 2), -1, 3),
        ]);
        assert!(good.wrong.is_empty(), "{:?}", good.wrong);
        let at = BTreeSet::from([At {
            shard: 0,
            log_index: 7,
        }]);
        assert_eq!(good.effects[&Bytes::from(vec![7; 16])], at);
        assert_eq!(good.effects.len(), 2);
    }

    #[test]
    fn a_torn_entry_and_a_wrong_after_image_are_found() {
        let torn = stream(&[change(1, 7, (0, 2), 5, 5), change(2, 8, (0, 1), 1, 6)]);
        assert!(torn.wrong[0].contains("torn"), "{:?}", torn.wrong);
        let again = stream(&[change(1, 7, (0, 1), 5, 5), change(2, 7, (0, 1), 1, 6)]);
        assert!(again.wrong[0].contains("torn"), "{:?}", again.wrong);
        let sums = stream(&[change(1, 7, (0, 1), 5, 5), change(2, 8, (0, 1), -1, 5)]);
        assert!(sums.wrong[0].contains("after 4 units"), "{:?}", sums.wrong);
    }
}
