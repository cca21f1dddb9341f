//! Orders over several shards that were still being decided when their shards were read.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures::TryStreamExt as _;
use holdfast_changes::verify::{Unsettled, Verifier};
use holdfast_client::{Client, v1};
use tokio::time::Instant;

use super::super::changes::streams;

/// Time between two looks. An order is settled within milliseconds.
const PAUSE: Duration = Duration::from_millis(50);

/// Follows these orders until they are settled, or for as long as the client's deadline.
pub(super) async fn follow(client: &Client, verifier: &mut Verifier) -> anyhow::Result<()> {
    let until = Instant::now() + client.options().deadline;
    let mut looked_at: HashMap<([u8; 16], u32), u64> = HashMap::new();
    loop {
        let unsettled = verifier.unsettled()?;
        if unsettled.is_empty() || Instant::now() >= until {
            return Ok(());
        }
        let positions = streams::positions(client, None).await?;
        let ends: BTreeMap<u32, u64> = positions
            .iter()
            .map(|position| (position.shard, position.last_seq))
            .collect();
        for Unsettled {
            reservation_id,
            shards,
        } in unsettled
        {
            for (shard, known) in shards {
                let after = looked_at.entry((reservation_id, shard)).or_insert(known);
                let end = ends.get(&shard).copied().unwrap_or(0);
                if end > *after {
                    look(client, verifier, reservation_id, (shard, *after, end)).await?;
                    *after = end;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Reads a shard's changes of an order, between two positions.
async fn look(
    client: &Client,
    verifier: &mut Verifier,
    reservation_id: [u8; 16],
    (shard, after, end): (u32, u64, u64),
) -> anyhow::Result<()> {
    let request = v1::TailChangesRequest {
        shard,
        from_seq: after + 1,
        reservation_id: reservation_id.to_vec().into(),
        ..v1::TailChangesRequest::default()
    };
    let mut messages = streams::through(client, request, end);
    while let Some(message) = messages.try_next().await? {
        for change in &message.changes {
            verifier.follow(change);
        }
    }
    Ok(())
}
