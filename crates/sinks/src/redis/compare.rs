//! Compares a view with the ledger, cell by cell, while both go on.
//!
//! The ledger lists a shard as it was at a change P. The view is read when it is at P or later. A cell that
//! has not moved since P must be equal. One that has moved is compared again, with a list of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use futures::TryStreamExt as _;
use holdfast_api::v1::{Cell, GetStockRequest, ListStockRequest, StockPolicy, TailChangesRequest};
use holdfast_client::Client;
use redis::{cmd, pipe};
use serde::Serialize;
use tokio::time::Instant;

use super::connection::Connection;
use super::keys::Keys;
use super::view::{buckets, field};
use crate::sink::SinkError;

/// How long the view may take to come to the position at which the ledger was listed.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a SKU that moves is compared again before it counts as different.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(20);
/// Differences that are kept in full. More are counted.
const MAX_SHOWN: usize = 100;

/// One number that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The shard.
    pub shard: u32,
    /// The key in Redis.
    pub key: String,
    /// The field of the hash.
    pub field: String,
    /// The units in the ledger; None when it has none there.
    pub ledger: Option<i64>,
    /// The text in Redis; None when it is missing.
    pub redis: Option<String>,
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Cells of the ledger that were compared.
    pub cells: u64,
    /// SKUs of the ledger that were compared.
    pub skus: u64,
    /// Numbers that differ.
    pub differences: u64,
    /// The first of them.
    pub first: Vec<Difference>,
}

impl Comparison {
    fn add(&mut self, difference: Difference) {
        self.differences += 1;
        if self.first.len() < MAX_SHOWN {
            self.first.push(difference);
        }
    }
}

type Hash = HashMap<String, String>;

/// Compares one generation of a view with a cluster.
pub(super) struct Comparing<'a> {
    pub(super) client: &'a Client,
    pub(super) connection: Connection,
    pub(super) keys: Keys,
}

/// The cells of one SKU, as the ledger has them at a change.
struct Listed {
    sku: String,
    cells: Vec<Cell>,
    /// The storefronts with a stock policy, and whether each may borrow.
    may_borrow: BTreeMap<String, bool>,
    at_seq: u64,
}

/// One SKU in the view, as it was at a change.
struct Seen {
    cells: Vec<Hash>,
    sold: Hash,
    front: Hash,
    at_seq: u64,
}

impl Comparing<'_> {
    /// Compares one shard. `progress` is told how many cells were compared.
    pub(super) async fn shard(
        &mut self,
        shard: u32,
        result: &mut Comparison,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Result<(), SinkError> {
        let (cells, policies, at_seq) = self.list(shard).await?;
        let mut fronts: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
        for policy in policies {
            fronts
                .entry(policy.sku)
                .or_default()
                .insert(policy.storefront, policy.may_borrow);
        }
        let hasher = RandomState::new();
        let known: HashSet<u64> = cells
            .iter()
            .map(|cell| hasher.hash_one(self.keys.cell(shard, &cell.sku, &cell.warehouse)))
            .collect();
        let mut rest = cells.into_iter().peekable();
        while let Some(first) = rest.next() {
            let sku = first.sku.clone();
            let mut cells = vec![first];
            while let Some(next) = rest.next_if(|cell| cell.sku == sku) {
                cells.push(next);
            }
            result.cells += cells.len() as u64;
            result.skus += 1;
            progress(cells.len() as u64);
            let listed = Listed {
                may_borrow: fronts.get(&sku).cloned().unwrap_or_default(),
                sku,
                cells,
                at_seq,
            };
            self.sku(shard, listed, result).await?;
        }
        self.unknown_cells(
            shard,
            |key| known.contains(&hasher.hash_one(key)),
            &fronts,
            at_seq,
            result,
        )
        .await
    }

    /// Lists a shard, and waits until the view is at that position.
    async fn list(&mut self, shard: u32) -> Result<(Vec<Cell>, Vec<StockPolicy>, u64), SinkError> {
        let request = ListStockRequest {
            shard: Some(shard),
            ..ListStockRequest::default()
        };
        let mut answers = std::pin::pin!(self.client.list_stock(request));
        let (mut cells, mut policies, mut at_seq) = (Vec::new(), Vec::new(), 0);
        while let Some(answer) = answers.try_next().await? {
            at_seq = answer.read.map_or(at_seq, |read| read.change_seq);
            cells.extend(answer.cells);
            policies.extend(answer.policies);
        }
        self.wait_for(shard, at_seq).await?;
        Ok((cells, policies, at_seq))
    }

    async fn wait_for(&mut self, shard: u32, seq: u64) -> Result<(), SinkError> {
        let until = Instant::now() + PATIENCE;
        loop {
            let mut command = cmd("HGET");
            command.arg(self.keys.shard(shard)).arg("seq");
            let at: Option<u64> = self.connection.ask("read how far the view is", &command).await?;
            let at = at.unwrap_or_default();
            if at >= seq {
                return Ok(());
            }
            if Instant::now() >= until {
                return Err(SinkError::Unavailable {
                    what: format!(
                        "the view of shard {shard} is at change {at} and did not come to {seq} within {} s: see \
                         whether a runner delivers",
                        PATIENCE.as_secs()
                    ),
                    retry_after_ms: 0,
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Compares one SKU, again while it moves. A difference counts when the view was read at the very change
    /// of the list, or when two looks in a row find the same one.
    async fn sku(
        &mut self,
        shard: u32,
        mut listed: Listed,
        result: &mut Comparison,
    ) -> Result<(), SinkError> {
        let mut before = Vec::new();
        for tries in 1.. {
            let seen = self.read(shard, &listed).await?;
            let found = self.differences(shard, &listed, &seen);
            if found.is_empty() {
                return Ok(());
            }
            if seen.at_seq == listed.at_seq || found == before || tries >= TRIES {
                found.into_iter().for_each(|difference| result.add(difference));
                return Ok(());
            }
            before = found;
            tokio::time::sleep(PAUSE).await;
            listed = self.look_again(shard, listed).await?;
        }
        Ok(())
    }

    fn differences(&self, shard: u32, listed: &Listed, seen: &Seen) -> Vec<Difference> {
        let mut found = Vec::new();
        for (cell, hash) in listed.cells.iter().zip(&seen.cells) {
            let key = self.keys.cell(shard, &cell.sku, &cell.warehouse);
            different(shard, &key, &cell_fields(cell), hash, &mut found);
        }
        let key = self.keys.sku(shard, &listed.sku);
        let sold = sold_fields(&listed.cells, &listed.may_borrow);
        different(shard, &key, &sold, &seen.sold, &mut found);
        let key = self.keys.front(shard, &listed.sku);
        for (storefront, may_borrow) in &listed.may_borrow {
            let there = seen.front.get(storefront);
            let ledger = i64::from(*may_borrow);
            if there.and_then(|text| text.parse().ok()) != Some(ledger) {
                found.push(Difference {
                    shard,
                    key: key.clone(),
                    field: storefront.clone(),
                    ledger: Some(ledger),
                    redis: there.cloned(),
                });
            }
        }
        found
    }

    /// Lists a SKU as it is, from what was known of it at an earlier change.
    async fn look_again(&mut self, shard: u32, before: Listed) -> Result<Listed, SinkError> {
        let request = GetStockRequest {
            sku: before.sku.clone(),
            ..GetStockRequest::default()
        };
        let answer = self.client.get_stock(request).await?;
        let at_seq = answer.read.map_or(0, |read| read.change_seq);
        let mut now = Listed {
            cells: answer.cells,
            at_seq,
            ..before
        };
        self.follow_policies(shard, &mut now, before.at_seq).await?;
        self.wait_for(shard, at_seq).await?;
        Ok(now)
    }

    /// Brings the stock policies of a SKU from an earlier change to the one of its cells. The answer about
    /// one SKU does not have them, so they are read from its changes.
    async fn follow_policies(&self, shard: u32, listed: &mut Listed, from_seq: u64) -> Result<(), SinkError> {
        let request = TailChangesRequest {
            shard,
            from_seq: from_seq.saturating_add(1),
            sku: listed.sku.clone(),
            // The node that answers may be behind the one that listed the cells.
            follow: true,
            ..TailChangesRequest::default()
        };
        let mut answers = std::pin::pin!(self.client.tail_changes_matching(request));
        let mut through_seq = from_seq;
        while through_seq < listed.at_seq {
            let answer = tokio::time::timeout(PATIENCE, answers.try_next()).await;
            let answer = answer.map_err(|_| SinkError::Unavailable {
                what: format!("no node sent change {} of shard {shard}", listed.at_seq),
                retry_after_ms: 0,
            })?;
            let Some(answer) = answer? else { break };
            through_seq = answer.through_seq;
            let changes = answer.changes.into_iter();
            for change in changes.filter(|change| change.seq <= listed.at_seq) {
                if let Some(policy) = change.policy {
                    listed.may_borrow.insert(change.storefront, policy.may_borrow);
                }
            }
        }
        Ok(())
    }

    /// Reads a SKU in the view, at one moment.
    async fn read(&mut self, shard: u32, listed: &Listed) -> Result<Seen, SinkError> {
        let mut pipeline = pipe();
        pipeline.atomic();
        for cell in &listed.cells {
            pipeline
                .cmd("HGETALL")
                .arg(self.keys.cell(shard, &cell.sku, &cell.warehouse));
        }
        for key in [
            self.keys.sku(shard, &listed.sku),
            self.keys.front(shard, &listed.sku),
            self.keys.shard(shard),
        ] {
            pipeline.cmd("HGETALL").arg(key);
        }
        let mut hashes: Vec<Hash> = self.connection.ask_all("read cells", &pipeline).await?;
        let mut last = || hashes.pop().unwrap_or_default();
        let (position, front, sold) = (last(), last(), last());
        let at_seq = position.get("seq").and_then(|seq| seq.parse().ok());
        Ok(Seen {
            cells: hashes,
            sold,
            front,
            at_seq: at_seq.unwrap_or_default(),
        })
    }

    /// Finds cells of the view that the list did not have. Those that came later are compared by themselves.
    async fn unknown_cells(
        &mut self,
        shard: u32,
        is_known: impl Fn(&str) -> bool,
        fronts: &BTreeMap<String, BTreeMap<String, bool>>,
        at_seq: u64,
        result: &mut Comparison,
    ) -> Result<(), SinkError> {
        let tag = self.keys.shard(shard);
        let prefix = self.keys.of_shard(shard) + "cell:";
        let pattern = format!("{}*", escaped(&prefix));
        let mut cursor = 0;
        loop {
            let (next, found) = self.connection.scan(&tag, &pattern, cursor).await?;
            for key in found.iter().filter(|key| !is_known(key)) {
                let name = key.strip_prefix(&prefix).and_then(|rest| rest.split_once('|'));
                let Some((_, sku)) = name else { continue };
                let listed = Listed {
                    may_borrow: fronts.get(sku).cloned().unwrap_or_default(),
                    sku: sku.to_owned(),
                    cells: Vec::new(),
                    at_seq,
                };
                let listed = self.look_again(shard, listed).await?;
                if !listed
                    .cells
                    .iter()
                    .any(|cell| self.keys.cell(shard, &cell.sku, &cell.warehouse) == *key)
                {
                    result.add(Difference {
                        shard,
                        key: key.clone(),
                        field: "seq".to_owned(),
                        ledger: None,
                        redis: Some("a cell that the ledger does not know".to_owned()),
                    });
                    continue;
                }
                self.sku(shard, listed, result).await?;
            }
            if next == 0 {
                return Ok(());
            }
            cursor = next;
        }
    }
}

fn cell_fields(cell: &Cell) -> BTreeMap<String, i64> {
    buckets(cell)
        .map(|((bucket, storefront), units)| (field(bucket, storefront), units))
        .collect()
}

/// Returns what each storefront with a pool or a policy can sell, and everybody else, by the rule of the
/// ledger: its pool, and free stock if it may borrow.
fn sold_fields(cells: &[Cell], policies: &BTreeMap<String, bool>) -> BTreeMap<String, i64> {
    let mut fields = BTreeMap::new();
    let mut add = |storefront: &str, warehouse: &str, units: i64| {
        for field in [storefront.to_owned(), format!("{storefront}@{warehouse}")] {
            let sum: &mut i64 = fields.entry(field).or_insert(0);
            *sum = sum.saturating_add(units);
        }
    };
    let with_pools = cells
        .iter()
        .flat_map(|cell| &cell.pools)
        .map(|pool| &pool.storefront);
    let storefronts: std::collections::BTreeSet<&String> = with_pools.chain(policies.keys()).collect();
    for cell in cells {
        add("*", &cell.warehouse, cell.free);
        for storefront in &storefronts {
            let pool = cell.pools.iter().find(|pool| pool.storefront == **storefront);
            let free = if policies.get(*storefront).copied().unwrap_or(true) {
                cell.free
            } else {
                0
            };
            add(
                storefront,
                &cell.warehouse,
                free.saturating_add(pool.map_or(0, |pool| pool.quantity)),
            );
        }
    }
    fields
}

/// Finds the numbers that differ. A missing pool counts as 0 while the hash is there. No other missing number
/// does: without a storefront's number, its readers would take everybody's.
fn different(
    shard: u32,
    key: &str,
    ledger: &BTreeMap<String, i64>,
    redis: &Hash,
    found: &mut Vec<Difference>,
) {
    let mut add = |field: &str, ledger: Option<i64>, redis: Option<&String>| {
        found.push(Difference {
            shard,
            key: key.to_owned(),
            field: field.to_owned(),
            ledger,
            redis: redis.cloned(),
        });
    };
    for (field, units) in ledger {
        let there = redis.get(field);
        let equal = match there {
            Some(text) => text.parse() == Ok(*units),
            None => *units == 0 && !redis.is_empty() && field.starts_with("pool:"),
        };
        if !equal {
            add(field, Some(*units), there);
        }
    }
    let own = |field: &str| matches!(field, "seq" | "log_time_ms");
    for (field, text) in redis {
        // A storefront whose pool and policy are gone keeps its numbers, which are those of everybody.
        let everybody = field
            .split_once('@')
            .map_or("*".to_owned(), |(_, warehouse)| format!("*@{warehouse}"));
        let is_sold = ledger.contains_key("*");
        let is_nothing = if is_sold {
            redis.get(&everybody) == Some(text)
        } else {
            text == "0"
        };
        if !ledger.contains_key(field) && !is_nothing && !own(field) {
            add(field, None, Some(text));
        }
    }
}

/// Returns a text as a pattern of SCAN that matches only itself.
fn escaped(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if "*?[]\\^-".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests;
