//! The spread of leaders over the nodes. After an election or a restart one node may lead most shards and do
//! most of the work.
//!
//! A node that leads at least two shards more than another node hands a shard over to the one that leads
//! fewest, if that one is connected and has nearly all of the log. Every handover makes the difference
//! smaller, so the handovers end, whatever the other nodes do meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use holdfast_shard::ShardHandle;

use crate::api::Api;

/// Pause between two checks of a node. Also the shortest time between two of its handovers.
const INTERVAL: Duration = Duration::from_millis(500);
/// Number of checks in a row that must find the same leaders again before a handover. Elections come in
/// swarms.
const SETTLED_LOOKS: u32 = 4;

/// Keeps the leaders spread until it is dropped.
pub(crate) async fn spread(api: Arc<Api>) {
    let mut before = Vec::new();
    let mut looks = 0;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let shards = api.router.shards();
        let leaders: Vec<Option<u64>> = shards.iter().map(ShardHandle::leader).collect();
        looks = if leaders == before { looks + 1 } else { 0 };
        if looks >= SETTLED_LOOKS && !api.leaving.load(Ordering::Relaxed) {
            let own_id = api.identity.node_id;
            let reachable = |node: &u64| api.peers.is_reachable(*node);
            let nodes: Vec<u64> = api
                .nodes()
                .iter()
                .map(|node| node.node_id)
                .filter(reachable)
                .collect();
            if let Some(to) = too_many(&leaders, own_id, &nodes) {
                hand_over(shards, to).await;
            }
        }
        before = leaders;
    }
}

/// Returns the node to which this node should hand a shard over, if it leads too many.
fn too_many(leaders: &[Option<u64>], own_id: u64, nodes: &[u64]) -> Option<u64> {
    // Nothing is handed over while a shard has no leader.
    let mut led: BTreeMap<u64, usize> = nodes.iter().map(|node| (*node, 0)).collect();
    for leader in leaders {
        *led.entry((*leader)?).or_default() += 1;
    }
    let own = led.get(&own_id).copied().unwrap_or(0);
    let (fewest, to) = nodes.iter().map(|node| (led[node], *node)).min()?;
    (own >= fewest + 2).then_some(to)
}

async fn hand_over(shards: &[ShardHandle], to: u64) {
    let Some(shard) = shards.iter().find(|shard| shard.leads() && shard.is_near(to)) else {
        return;
    };
    match shard.transfer_leader(Some(to)).await {
        Ok(to) => tracing::info!(
            shard = shard.shard(),
            to,
            "leadership handed over, to spread the work"
        ),
        Err(error) => tracing::debug!(shard = shard.shard(), to, %error, "leadership was not handed over"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands leadership over until no node has too many. Returns the number of handovers, and how many shards
    /// each node leads then.
    fn settle(mut leaders: Vec<Option<u64>>, nodes: &[u64]) -> (usize, Vec<usize>) {
        let mut handovers = 0;
        while let Some((from, to)) = nodes
            .iter()
            .find_map(|node| Some((*node, too_many(&leaders, *node, nodes)?)))
        {
            let shard = leaders.iter().position(|leader| *leader == Some(from)).unwrap();
            leaders[shard] = Some(to);
            handovers += 1;
            assert!(handovers <= leaders.len(), "it does not end: {leaders:?}");
        }
        let count = |node: &u64| leaders.iter().filter(|leader| **leader == Some(*node)).count();
        (handovers, nodes.iter().map(count).collect())
    }

    #[test]
    fn a_node_that_leads_everything_hands_most_of_it_over() {
        assert_eq!(settle(vec![Some(1); 5], &[1, 2, 3]), (3, vec![2, 2, 1]));
        assert_eq!(settle(vec![Some(3); 4], &[1, 2, 3]), (2, vec![1, 1, 2]));
        assert_eq!(settle(vec![Some(2); 12], &[1, 2, 3]), (8, vec![4, 4, 4]));
    }

    #[test]
    fn what_is_spread_stays_where_it_is() {
        assert_eq!(settle(vec![Some(1), Some(2), Some(3), Some(1)], &[1, 2, 3]).0, 0);
        assert_eq!(settle(vec![Some(1), Some(3), Some(2)], &[1, 2, 3]).0, 0);
        assert_eq!(settle(vec![Some(1)], &[1]).0, 0);
    }

    #[test]
    fn nothing_is_handed_to_a_node_that_is_away_nor_while_a_shard_has_no_leader() {
        assert_eq!(settle(vec![Some(1); 4], &[1, 3]), (2, vec![2, 2]));
        assert_eq!(too_many(&[Some(1), Some(1), None], 1, &[1, 2, 3]), None);
    }
}
