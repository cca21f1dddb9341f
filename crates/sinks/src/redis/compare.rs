//! Compares a view with the ledger, cell by cell, while both go on.
//!
//! The ledger lists a shard as it was at a change P. The view is read when it is at P or later. A cell that
//! has not moved since P must be equal. One that has moved is compared again, with a list of its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use futures::TryStreamExt as _;
use holdfast_api::v1::{Cell, GetStockRequest, ListStockRequest, StockPolicy};
use holdfast_client::{Client, ClientError};
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
        let none = BTreeMap::new();
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
            let policies = fronts.get(&sku).unwrap_or(&none);
            let listed = Listed { sku, cells, at_seq };
            self.sku(shard, listed, policies, result).await?;
        }
        self.unknown_cells(
            shard,
            |key| known.contains(&hasher.hash_one(key)),
            &fronts,
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

    /// Compares one SKU, again and again while it moves.
    async fn sku(
        &mut self,
        shard: u32,
        mut listed: Listed,
        policies: &BTreeMap<String, bool>,
        result: &mut Comparison,
    ) -> Result<(), SinkError> {
        for tries in 1.. {
            let (cells, sold) = self.read(shard, &listed).await?;
            let moved = cells.iter().any(|cell| {
                let seq = cell.get("seq").and_then(|seq| seq.parse::<u64>().ok());
                seq.is_some_and(|seq| seq > listed.at_seq)
            });
            let mut found = Vec::new();
            for (cell, hash) in listed.cells.iter().zip(&cells) {
                let key = self.keys.cell(shard, &cell.sku, &cell.warehouse);
                different(shard, &key, &cell_fields(cell), hash, &mut found);
            }
            let key = self.keys.sku(shard, &listed.sku);
            different(
                shard,
                &key,
                &sold_fields(&listed.cells, policies),
                &sold,
                &mut found,
            );
            if found.is_empty() {
                return Ok(());
            }
            if !moved || tries >= TRIES {
                found.into_iter().for_each(|difference| result.add(difference));
                return Ok(());
            }
            tokio::time::sleep(PAUSE).await;
            listed = self.look_again(shard, listed.sku).await?;
        }
        Ok(())
    }

    async fn look_again(&mut self, shard: u32, sku: String) -> Result<Listed, SinkError> {
        let request = GetStockRequest {
            sku: sku.clone(),
            ..GetStockRequest::default()
        };
        let answer = self.client.get_stock(request).await.map_err(ClientError::from)?;
        let at_seq = answer.read.map_or(0, |read| read.change_seq);
        self.wait_for(shard, at_seq).await?;
        Ok(Listed {
            sku,
            cells: answer.cells,
            at_seq,
        })
    }

    /// Reads the cells of a SKU and what can be sold of it, at one moment.
    async fn read(&mut self, shard: u32, listed: &Listed) -> Result<(Vec<Hash>, Hash), SinkError> {
        let mut pipeline = pipe();
        pipeline.atomic();
        for cell in &listed.cells {
            pipeline
                .cmd("HGETALL")
                .arg(self.keys.cell(shard, &cell.sku, &cell.warehouse));
        }
        pipeline.cmd("HGETALL").arg(self.keys.sku(shard, &listed.sku));
        let mut hashes: Vec<Hash> = self.connection.ask_all("read cells", &pipeline).await?;
        let sold = hashes.pop().unwrap_or_default();
        Ok((hashes, sold))
    }

    /// Finds cells of the view that the list did not have. Those that came later are compared by themselves.
    async fn unknown_cells(
        &mut self,
        shard: u32,
        is_known: impl Fn(&str) -> bool,
        fronts: &BTreeMap<String, BTreeMap<String, bool>>,
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
                let listed = self.look_again(shard, sku.to_owned()).await?;
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
                let none = BTreeMap::new();
                self.sku(shard, listed, fronts.get(sku).unwrap_or(&none), result)
                    .await?;
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
        *fields.entry(storefront.to_owned()).or_insert(0) += units;
        *fields.entry(format!("{storefront}@{warehouse}")).or_insert(0) += units;
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
                free + pool.map_or(0, |pool| pool.quantity),
            );
        }
    }
    fields
}

/// Finds the numbers that differ. What is missing counts as 0, but a hash that is missing whole does not.
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
            None => *units == 0 && !redis.is_empty(),
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
        let of_everybody = ledger.contains_key("*") && redis.get(&everybody) == Some(text);
        if !ledger.contains_key(field) && text != "0" && !own(field) && !of_everybody {
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
