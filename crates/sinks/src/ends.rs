//! Where the streams of the cluster end, asked once a second for all sinks together.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_api::v1::GetPositionsRequest;
use holdfast_client::Client;
use tokio::sync::watch;

use crate::clock;

/// How often the cluster is asked.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// The end of each shard's stream, as it was at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    /// The moment, by this machine's clock, in milliseconds since the Unix epoch; 0 before the first answer.
    pub(crate) at_ms: u64,
    last_seq: BTreeMap<u32, u64>,
}

impl Ends {
    /// Returns the last change of a shard, when it is known.
    pub(crate) fn last_seq(&self, shard: u32) -> Option<u64> {
        self.last_seq.get(&shard).copied()
    }
}

/// Asks without end, and tells everybody who watches.
pub(crate) async fn watch(client: Client, ends: watch::Sender<Ends>) {
    while !ends.is_closed() {
        // What the answer says was true after this moment.
        let at_ms = clock::now_ms();
        match client.get_positions(GetPositionsRequest {}).await {
            Ok(positions) => {
                let shards = positions.shards.iter();
                let last_seq = shards.map(|shard| (shard.shard, shard.last_seq)).collect();
                ends.send_replace(Ends { at_ms, last_seq });
            }
            Err(error) => tracing::debug!(%error, "the cluster does not say where its streams end"),
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}
