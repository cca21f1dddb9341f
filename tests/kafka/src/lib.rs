//! A small shop whose changes the tests write, and the fold that a consumer makes of the topics.
//!
//! Neither shares code with the sink: the shop adds up by itself, and the fold reads only JSON.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, bail, ensure};
use holdfast_api::v1::{Bucket, BucketMove, Cause, Change, ChangeKind, ReservationEffect, ReservationState};
use serde_json::Value;
use uuid::Uuid;

/// Units by `(sku, warehouse, bucket)`; a pool is `pool:STOREFRONT`. Buckets with 0 units are left out.
pub type Quantities = BTreeMap<(String, String, String), i64>;

/// Makes the changes of one shard, and knows what they add up to.
#[derive(Debug, Clone)]
pub struct Shop {
    shard: u32,
    seq: u64,
    log_index: u64,
    dice: u64,
    /// The sum of the changes so far.
    pub quantities: Quantities,
}

impl Shop {
    /// Opens the shop of a shard.
    pub fn new(shard: u32) -> Self {
        Self {
            shard,
            seq: 0,
            log_index: 10,
            dice: u64::from(shard) + 1,
            quantities: Quantities::new(),
        }
    }

    /// Returns the shard.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Returns the number of the last change.
    pub fn last_seq(&self) -> u64 {
        self.seq
    }

    /// Returns whole entries with so many changes, or a few more.
    pub fn changes(&mut self, at_least: usize) -> Vec<Change> {
        let mut changes = Vec::new();
        while changes.len() < at_least {
            changes.extend(self.entry());
        }
        changes
    }

    fn throw(&mut self, sides: u64) -> u64 {
        // xorshift: the same shop makes the same changes in every run.
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % sides
    }

    fn entry(&mut self) -> Vec<Change> {
        self.log_index += 1;
        let size = 1 + self.throw(3) as u32;
        (0..size)
            .map(|entry_offset| {
                let change = self.change();
                self.seq += 1;
                Change {
                    shard: self.shard,
                    seq: self.seq,
                    entry_changes: size,
                    entry_offset,
                    log_index: self.log_index,
                    log_time_ms: 1_700_000_000_000 + self.log_index,
                    ..change
                }
            })
            .collect()
    }

    fn change(&mut self) -> Change {
        let article = self.throw(20);
        let sku = format!("SKU-{}-{article}", self.shard);
        let warehouse = format!("W{}", self.throw(2));
        let units = 1 + self.throw(9) as i64;
        let free = self.units(&sku, &warehouse, "free");
        match self.throw(5) {
            0 => Change {
                kind: ChangeKind::Extended.into(),
                reservation: Some(self.reservation(0)),
                cause: Some(Cause::default()),
                ..Change::default()
            },
            1 if free >= units => {
                let moves = [(Bucket::Free, -units), (Bucket::Pool, units)];
                self.moved(ChangeKind::PoolAllocated, sku, warehouse, &moves)
            }
            2 | 3 if free >= units => {
                let moves = [(Bucket::Free, -units), (Bucket::Held, units)];
                let change = self.moved(ChangeKind::Reserved, sku, warehouse, &moves);
                Change {
                    reservation: Some(self.reservation(units)),
                    ..change
                }
            }
            _ => {
                let moves = [(Bucket::OnHand, units), (Bucket::Free, units)];
                self.moved(ChangeKind::Received, sku, warehouse, &moves)
            }
        }
    }

    fn reservation(&mut self, quantity: i64) -> ReservationEffect {
        let id = Uuid::from_u128(u128::from(self.throw(1_000)) + 1);
        ReservationEffect {
            reservation_id: id.as_bytes().to_vec().into(),
            state: ReservationState::Held.into(),
            requested: quantity,
            quantity,
            ..ReservationEffect::default()
        }
    }

    fn units(&self, sku: &str, warehouse: &str, bucket: &str) -> i64 {
        let key = (sku.to_owned(), warehouse.to_owned(), bucket.to_owned());
        self.quantities.get(&key).copied().unwrap_or(0)
    }

    fn moved(&mut self, kind: ChangeKind, sku: String, warehouse: String, moves: &[(Bucket, i64)]) -> Change {
        let storefront = if self.throw(2) == 0 { "web" } else { "app" };
        let moves = moves.iter().map(|(bucket, delta)| {
            let name = match bucket {
                Bucket::OnHand => "on_hand".to_owned(),
                Bucket::Free => "free".to_owned(),
                Bucket::Held => "held".to_owned(),
                _ => format!("pool:{storefront}"),
            };
            let units = self
                .quantities
                .entry((sku.clone(), warehouse.clone(), name))
                .or_default();
            *units += delta;
            BucketMove {
                bucket: (*bucket).into(),
                delta: *delta,
                after: *units,
            }
        });
        let moves = moves.collect();
        self.quantities.retain(|_, units| *units != 0);
        Change {
            kind: kind.into(),
            sku,
            warehouse,
            storefront: storefront.to_owned(),
            moves,
            ..Change::default()
        }
    }
}

/// A record as a consumer gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The partition.
    pub partition: i32,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// The headers.
    pub headers: BTreeMap<String, String>,
}

/// The knowledge of a consumer after reading both topics.
#[derive(Debug, Default)]
pub struct Folded {
    /// The quantities.
    pub quantities: Quantities,
    /// The sequence numbers of each shard, in any of the topics.
    pub seqs: BTreeMap<u32, BTreeSet<u64>>,
}

/// Folds the records of both topics, each in the order of its partitions.
///
/// # Errors
/// A change comes twice, a key has two partitions, a number does not follow from the one before, or a record
/// is not what docs/kafka.md says.
pub fn fold(cells: &[Read], reservations: &[Read]) -> anyhow::Result<Folded> {
    let mut folded = Folded::default();
    for (table, records) in [("cells", cells), ("reservations", reservations)] {
        let mut seen = BTreeSet::new();
        let mut homes = BTreeMap::new();
        let mut newest = BTreeMap::new();
        for record in records {
            let value: Value = serde_json::from_slice(&record.value)?;
            let source = &value["source"];
            ensure!(source["table"] == table, "{source}");
            let shard = u32::try_from(source["shard"].as_u64().context("shard")?)?;
            let seq = source["seq"].as_u64().context("seq")?;
            ensure!(
                seen.insert((shard, seq)),
                "{table}: change {seq} of shard {shard} twice"
            );
            folded.seqs.entry(shard).or_default().insert(seq);
            let home = *homes.entry(record.key.clone()).or_insert(record.partition);
            ensure!(
                home == record.partition,
                "{table}: key {} is in two partitions",
                record.key
            );
            let newest = newest.entry((shard, record.key.clone())).or_insert(0);
            ensure!(
                seq > *newest,
                "{table}: key {} goes back from {newest} to {seq}",
                record.key
            );
            *newest = seq;
            let cluster = source["cluster_id"].as_str().context("cluster")?;
            let id = record.headers.get("ce_id").context("ce_id")?;
            ensure!(*id == format!("{cluster}/{shard}/{seq}"), "{id}");
            if table == "cells" {
                folded.cell(&value)?;
            }
        }
    }
    folded.quantities.retain(|_, units| *units != 0);
    Ok(folded)
}

impl Folded {
    fn cell(&mut self, value: &Value) -> anyhow::Result<()> {
        let (before, after) = (&value["before"], &value["after"]);
        let sku = after["sku"].as_str().context("sku")?;
        let warehouse = after["warehouse"].as_str().context("warehouse")?;
        for (group, prefix) in [("buckets", ""), ("pools", "pool:")] {
            for (name, units) in after[group].as_object().context("units")? {
                let units = units.as_i64().context("a whole number")?;
                let key = (sku.to_owned(), warehouse.to_owned(), format!("{prefix}{name}"));
                let known = self.quantities.get(&key).copied().unwrap_or(0);
                if before[group][name] != known {
                    bail!("{key:?}: before is {}, the fold has {known}", before[group][name]);
                }
                self.quantities.insert(key, units);
            }
        }
        Ok(())
    }

    /// Checks that a shop and the topics say the same, with every change once.
    ///
    /// # Errors
    /// A change is missing, or a quantity differs.
    pub fn equals(&self, shops: &[&Shop]) -> anyhow::Result<()> {
        let mut quantities = Quantities::new();
        for shop in shops {
            quantities.extend(shop.quantities.clone());
            let seqs = self.seqs.get(&shop.shard).cloned().unwrap_or_default();
            let expected = (1..=shop.seq).collect::<BTreeSet<_>>();
            let missing = expected.difference(&seqs).collect::<Vec<_>>();
            ensure!(
                seqs == expected,
                "shard {}: {missing:?} are missing, or others are there",
                shop.shard
            );
        }
        ensure!(quantities == self.quantities, "quantities differ");
        Ok(())
    }
}
