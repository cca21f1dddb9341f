//! Lists all cells of a shard at one position, although they are read in pages while the shard goes on.
//!
//! ```text
//! page 1 at change 100 ── page 2 at change 140 ── digest at change 170
//!        └── + changes 101..=170 of its cells ┐
//!                              └── + 141..=170 ┴──> all cells at change 170
//! ```
//! A change carries the value of every bucket that it moved, as it is after the change. So a page is rolled
//! forward by writing these values over its cells. Everything is read from this node's replica. A
//! linearizable listing first waits until the replica has applied everything that a quorum confirmed.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_api::reasons;
use holdfast_api::v1::{self, Reason, Refusal};
use holdfast_ledger::{CellView, Change, PolicyEffect, Query, QueryReply, Sku, StorefrontId, WarehouseId};
use holdfast_shard::{Answer, Freshness};
use tokio::time::Instant;

use crate::api::{Api, wrong_reply};
use crate::intake::Permit;
use crate::intake::outgoing::{self, Delivered, Outgoing, Undelivered};
use crate::mapping::outbound;
use crate::reasoned;

/// The number of cells in one page from the shard.
const PAGE_CELLS: u32 = 10_000;
/// The number of cells in one message to the client. The message stays well below 4 MiB, even with many
/// pools.
const MESSAGE_CELLS: usize = 1_000;
/// The bytes of changes that are read at a time.
const CHANGE_BYTES: usize = 1 << 20;

type Key = (Sku, WarehouseId);
type Answers = Outgoing<v1::ListStockResponse>;

/// Serves one listing in the background, shard by shard.
pub(super) fn start(
    api: &Arc<Api>,
    shards: Vec<u32>,
    freshness: Freshness,
    deadline: Instant,
    place: Permit,
) -> Delivered<v1::ListStockResponse> {
    let patience = api.limits.unread.duration();
    let (answers, delivered) = outgoing::stream(1, patience, place);
    let api = Arc::clone(api);
    api.tasks.clone().spawn("stock listing", async move {
        for shard in shards {
            let listed = tokio::select! {
                listed = list(&api, shard, freshness, deadline) => listed,
                () = answers.closed() => return,
            };
            let sent = match listed {
                Ok(listing) => send(&answers, listing).await,
                Err(refusal) => {
                    answers.end(api.refused("ListStock", refusal));
                    return;
                }
            };
            match sent {
                Ok(()) => {}
                Err(Undelivered::Gone) => return,
                Err(Undelivered::Unread) => {
                    answers.end_unread(&api, "ListStock", Reason::Overloaded);
                    return;
                }
            }
        }
    });
    delivered
}

struct Listing {
    read: v1::ReadPosition,
    cells: Vec<v1::Cell>,
    policies: Vec<v1::StockPolicy>,
    digest: [u8; 32],
}

async fn send(answers: &Answers, listing: Listing) -> Result<(), Undelivered> {
    let Listing {
        read,
        cells,
        policies,
        digest,
    } = listing;
    let mut cells = cells.into_iter().peekable();
    let mut policies = policies.into_iter().peekable();
    loop {
        let message: Vec<v1::Cell> = cells.by_ref().take(MESSAGE_CELLS).collect();
        let of_policies = MESSAGE_CELLS - message.len();
        let policies_of_message: Vec<v1::StockPolicy> = policies.by_ref().take(of_policies).collect();
        let last = cells.peek().is_none() && policies.peek().is_none();
        let state_digest = if last {
            bytes::Bytes::copy_from_slice(&digest)
        } else {
            bytes::Bytes::new()
        };
        answers
            .send(v1::ListStockResponse {
                read: Some(read),
                cells: message,
                policies: policies_of_message,
                state_digest,
            })
            .await?;
        if last {
            return Ok(());
        }
    }
}

async fn list(api: &Api, shard: u32, freshness: Freshness, deadline: Instant) -> Result<Listing, Refusal> {
    if freshness == Freshness::Linearizable {
        wait_until_confirmed(api, shard, deadline).await?;
    }
    let mut pages = Pages::default();
    loop {
        let query = Query::ListCells {
            after: pages.last_key(),
            limit: PAGE_CELLS,
        };
        let answer = api.query(shard, query, Freshness::Stale, deadline).await?;
        let QueryReply::Cells(cells) = answer.reply else {
            return Err(wrong_reply(&answer.reply));
        };
        let last = cells.len() < PAGE_CELLS as usize;
        pages.add(cells, answer.last_seq, last);
        if last {
            break;
        }
    }
    list_policies(api, shard, &mut pages, deadline).await?;
    let answer = api
        .query(shard, Query::Digest, Freshness::Stale, deadline)
        .await?;
    let QueryReply::Digest(digest) = answer.reply else {
        return Err(wrong_reply(&answer.reply));
    };
    roll_forward(api, shard, &mut pages, answer.last_seq).await?;
    let age_ms = if freshness == Freshness::Linearizable {
        0
    } else {
        answer.age_ms
    };
    let read = outbound::read_position(shard, &Answer { age_ms, ..answer });
    Ok(Listing {
        read,
        policies: pages.policies(),
        cells: pages.cells.into_values().collect(),
        digest,
    })
}

/// Reads the stock policies in pages. They are later than the pages of cells, so what rolls those forward
/// rolls the policies forward too: each change of a policy carries the whole policy.
async fn list_policies(api: &Api, shard: u32, pages: &mut Pages, deadline: Instant) -> Result<(), Refusal> {
    let mut after = None;
    loop {
        let query = Query::Policies {
            after: after.take(),
            limit: PAGE_CELLS,
        };
        let answer = api.query(shard, query, Freshness::Stale, deadline).await?;
        let QueryReply::Policies(policies) = answer.reply else {
            return Err(wrong_reply(&answer.reply));
        };
        after = policies
            .last()
            .map(|policy| (policy.sku.clone(), policy.storefront.clone()));
        let last = policies.len() < PAGE_CELLS as usize;
        for policy in policies {
            pages
                .policies
                .insert((policy.sku, policy.storefront), policy.rules);
        }
        if last {
            return Ok(());
        }
    }
}

/// Waits until this node's replica has applied everything that was acknowledged before the call. Returns the
/// sequence number of the last of these changes.
pub(super) async fn wait_until_confirmed(api: &Api, shard: u32, deadline: Instant) -> Result<u64, Refusal> {
    let query = Query::ListCells {
        after: None,
        limit: 1,
    };
    let confirmed = api
        .query(shard, query, Freshness::Linearizable, deadline)
        .await?
        .last_seq;
    if confirmed == 0 {
        return Ok(0);
    }
    let changes = api.changes_of(shard).await?;
    match tokio::time::timeout_at(deadline, changes.wait_past(confirmed - 1)).await {
        Ok(Ok(_)) => Ok(confirmed),
        Ok(Err(error)) => Err(reasoned::told_of_shard(shard, &error)),
        Err(_) => Err(reasons::refusal(
            Reason::Deadline,
            format!("the replica of shard {shard} on this node did not catch up in time: ask another node"),
        )),
    }
}

async fn roll_forward(api: &Api, shard: u32, pages: &mut Pages, through_seq: u64) -> Result<(), Refusal> {
    let mut from_seq = pages.oldest_seq().saturating_add(1);
    let changes_of_shard = api.changes_of(shard).await?;
    while from_seq <= through_seq {
        let reader = changes_of_shard.clone();
        let read = tokio::task::spawn_blocking(move || reader.read(from_seq, CHANGE_BYTES)).await;
        let changes = match read {
            Ok(Ok(changes)) => changes,
            Ok(Err(error)) => return Err(reasoned::told_of_shard(shard, &error)),
            Err(error) => return Err(reasons::refusal(Reason::Internal, error.to_string())),
        };
        let Some(last) = changes.last() else {
            let message = format!("shard {shard}: change {from_seq} was applied and cannot be read");
            return Err(reasons::refusal(Reason::Internal, message));
        };
        from_seq = last.seq + 1;
        for change in &changes {
            pages.apply(change, through_seq);
        }
    }
    Ok(())
}

/// The cells that were read in pages, each page at its own position.
#[derive(Default)]
struct Pages {
    cells: BTreeMap<Key, v1::Cell>,
    /// The coverage of each page: its last key (None for the last page, which goes to the end), and the last
    /// change that it contains.
    covered: Vec<(Option<Key>, u64)>,
    /// The stock policies, the default ones among them.
    policies: BTreeMap<(Sku, StorefrontId), PolicyEffect>,
}

impl Pages {
    fn last_key(&self) -> Option<Key> {
        self.cells.keys().next_back().cloned()
    }

    fn add(&mut self, cells: Vec<CellView>, seq: u64, last: bool) {
        for cell in cells {
            let key = (cell.sku.clone(), cell.warehouse.clone());
            self.cells.insert(key, outbound::cell(cell));
        }
        let upper = if last { None } else { self.last_key() };
        self.covered.push((upper, seq));
    }

    fn oldest_seq(&self) -> u64 {
        self.covered.iter().map(|(_, seq)| *seq).min().unwrap_or(0)
    }

    /// Returns the sequence number of the last change in the page that covers this key.
    fn seq_at(&self, key: &Key) -> u64 {
        let page = self
            .covered
            .partition_point(|(upper, _)| upper.as_ref().is_some_and(|upper| upper < key));
        self.covered.get(page).map_or(0, |(_, seq)| *seq)
    }

    /// Returns the stock policies that differ from the default.
    fn policies(&self) -> Vec<v1::StockPolicy> {
        let differing = self.policies.iter().filter(|(_, rules)| !is_default(rules));
        differing
            .map(|((sku, storefront), rules)| outbound::stock_policy(sku, storefront, *rules))
            .collect()
    }

    fn apply(&mut self, change: &Change, through_seq: u64) {
        if let (Some(sku), Some(storefront), Some(rules)) = (&change.sku, &change.storefront, &change.policy)
            && change.seq <= through_seq
        {
            self.policies.insert((sku.clone(), storefront.clone()), **rules);
        }
        let (Some(sku), Some(warehouse)) = (&change.sku, &change.warehouse) else {
            return;
        };
        let key = (sku.clone(), warehouse.clone());
        if change.seq > through_seq || change.seq <= self.seq_at(&key) {
            return;
        }
        let cell = self
            .cells
            .entry(key)
            .or_insert_with(|| v1::Cell::empty(sku.as_str(), warehouse.as_str()));
        let storefront = change.storefront.as_ref().map_or("", |name| name.as_str());
        for moved in &change.moves {
            cell.set(outbound::bucket(moved.bucket), storefront, moved.after);
        }
    }
}

/// Returns whether a policy is that of a storefront for which none was set.
fn is_default(rules: &PolicyEffect) -> bool {
    let PolicyEffect {
        may_borrow,
        max_per_reservation,
        backorder_limit,
        preorder_limit,
        preorder_until_ms,
    } = *rules;
    may_borrow
        && (max_per_reservation, backorder_limit, preorder_limit) == (0, 0, 0)
        && preorder_until_ms == 0
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::{Bucket, BucketMove, CallerReason, Cause, ChangeKind, Reference, StorefrontId};

    use super::*;

    fn key(sku: &str) -> Key {
        (Sku::new(sku).unwrap(), WarehouseId::new("W").unwrap())
    }

    fn cell(sku: &str, free: i64) -> CellView {
        let (sku, warehouse) = key(sku);
        CellView {
            sku,
            warehouse,
            on_hand: 0,
            free,
            pools: Vec::new(),
            safety: 0,
            held: 0,
            committed: 0,
            damaged: 0,
            quality_hold: 0,
            deficit: 0,
            backordered: 0,
            in_transit: 0,
        }
    }

    fn change(seq: u64, sku: &str, bucket: Bucket, after: i64, storefront: Option<&str>) -> Change {
        let (sku, warehouse) = key(sku);
        Change {
            seq,
            entry_changes: 1,
            entry_offset: 0,
            log_index: seq,
            log_time_ms: 0,
            kind: ChangeKind::Received,
            sku: Some(sku),
            warehouse: Some(warehouse),
            storefront: storefront.map(|name| StorefrontId::new(name).unwrap()),
            moves: vec![BucketMove {
                bucket,
                delta: 1,
                after,
            }]
            .into(),
            reservation: None,
            policy: None,
            transfer: None,
            supply: None,
            cause: Cause {
                operation_id: None,
                principal: None,
                reason: CallerReason::new("").unwrap(),
                reference: Reference::new("").unwrap(),
                occurred_at_ms: None,
            },
        }
    }

    #[test]
    fn pages_read_at_different_moments_become_one() {
        let mut pages = Pages::default();
        pages.add(vec![cell("A", 1), cell("C", 1)], 10, false);
        pages.add(vec![cell("D", 5)], 20, true);
        assert_eq!(pages.oldest_seq(), 10);
        for change in [
            change(10, "A", Bucket::Free, 99, None),
            change(11, "A", Bucket::Free, 2, None),
            // Made between the two pages, in the range of the first page.
            change(12, "B", Bucket::OnHand, 7, None),
            // The second page contains this change, but not the one after it.
            change(15, "D", Bucket::Free, 99, None),
            change(21, "D", Bucket::Free, 6, None),
            // Beyond the last cell of the last page.
            change(22, "E", Bucket::Free, 8, None),
            // After the position that is listed.
            change(26, "A", Bucket::Free, 99, None),
        ] {
            pages.apply(&change, 25);
        }
        assert_eq!(pages.policies(), []);
        let free: Vec<(&str, i64, i64)> = pages
            .cells
            .values()
            .map(|cell| (cell.sku.as_str(), cell.on_hand, cell.free))
            .collect();
        assert_eq!(
            free,
            [("A", 0, 2), ("B", 7, 0), ("C", 0, 1), ("D", 0, 6), ("E", 0, 8)]
        );
    }

    #[test]
    fn policies_are_those_of_the_listed_position() {
        let mut pages = Pages::default();
        let rules = |max_per_reservation| PolicyEffect {
            may_borrow: true,
            max_per_reservation,
            backorder_limit: 0,
            preorder_limit: 0,
            preorder_until_ms: 0,
        };
        let web = || StorefrontId::new("web").unwrap();
        pages.policies.insert((key("A").0, web()), rules(5));
        pages.policies.insert((key("B").0, web()), rules(5));
        for (seq, sku, max) in [(11, "A", 7), (12, "B", 0), (13, "C", 9), (26, "A", 99)] {
            let mut change = change(seq, sku, Bucket::Free, 0, Some("web"));
            (change.warehouse, change.policy) = (None, Some(Box::new(rules(max))));
            pages.apply(&change, 25);
        }
        let listed: Vec<(String, i64)> = pages
            .policies()
            .into_iter()
            .map(|policy| (policy.sku, policy.max_per_reservation))
            .collect();
        assert_eq!(listed, [("A".to_owned(), 7), ("C".to_owned(), 9)]);
    }

    #[test]
    fn pools_follow_their_storefront_in_order() {
        let mut pages = Pages::default();
        pages.add(Vec::new(), 0, true);
        for (seq, storefront, after) in [(1, "web", 3), (2, "app", 4), (3, "web", 5), (4, "app", 0)] {
            pages.apply(&change(seq, "A", Bucket::Pool, after, Some(storefront)), 9);
        }
        let cell = &pages.cells[&key("A")];
        let pools: Vec<(&str, i64)> = cell
            .pools
            .iter()
            .map(|pool| (pool.storefront.as_str(), pool.quantity))
            .collect();
        assert_eq!(pools, [("web", 5)]);
    }
}
