//! The replayed stock: every cell by verification's own arithmetic.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use holdfast_api::v1::{self, Bucket, ChangeKind};

use super::finding::{Check, Findings};
use super::step::{Step, place};
use crate::names;
use crate::parquet::schema::BUCKETS;

/// A cell, by the numbers of its two names.
pub(super) type CellKey = (u32, u32);

/// The names as numbers, so that a cell stores no text.
#[derive(Debug, Default)]
pub(super) struct Names {
    numbers: HashMap<Arc<str>, u32>,
    texts: Vec<Arc<str>>,
}

impl Names {
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let text: Arc<str> = text.into();
        // 2^32 names would not fit into memory.
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    pub(super) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("?", AsRef::as_ref)
    }
}

/// One cell as the changes add up.
#[derive(Debug, Clone, Default)]
struct Cell {
    /// Units by [`place`]. The pool's entry is the sum of all pools.
    buckets: [i64; BUCKETS.len()],
    /// Units by storefront; no entry is empty.
    pools: Vec<(u32, i64)>,
    /// Units that came in minus units that left, summed from the deltas.
    flow: i64,
    /// The error of the equation when it was last reported.
    told_imbalance: i128,
    /// The most units that were ever promised beyond the stock.
    oversold: i128,
    compared: bool,
}

/// All cells of a shard.
#[derive(Debug, Default)]
pub(super) struct Cells {
    pub(super) skus: Names,
    pub(super) places: Names,
    cells: HashMap<CellKey, Cell>,
    /// The cells that the current entry moved.
    touched: Vec<CellKey>,
}

impl Cells {
    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    pub(super) fn key(&mut self, change: &v1::Change) -> CellKey {
        (
            self.skus.number(&change.sku),
            self.places.number(&change.warehouse),
        )
    }

    pub(super) fn describe(&self, key: CellKey) -> String {
        format!("{} in {}", self.skus.text(key.0), self.places.text(key.1))
    }

    /// Replays the moves of a change. An after-image that is not before plus delta is reported and then taken
    /// as true, so that one fault is reported once.
    pub(super) fn replay(&mut self, step: &Step<'_>, findings: &mut Findings) {
        if step.moves.iter().all(Option::is_none) {
            return;
        }
        let (shard, seq) = (step.change.shard, step.change.seq);
        let key = self.key(step.change);
        let storefront = self.places.number(&step.change.storefront);
        let name = self.describe(key);
        let cell = self.cells.entry(key).or_default();
        for bucket in BUCKETS {
            let Some(moved) = step.moves[place(bucket)] else {
                continue;
            };
            let before = if bucket == Bucket::Pool {
                cell.pool(storefront)
            } else {
                cell.buckets[place(bucket)]
            };
            let bucket_name = names::bucket(bucket);
            if before.checked_add(moved.delta) != Some(moved.after) {
                findings.add(Check::WrongAfterImage, shard, seq, || {
                    let Some(right) = before.checked_add(moved.delta) else {
                        return format!("{name}: {bucket_name} {before} {:+} overflows", moved.delta);
                    };
                    let (delta, told) = (moved.delta, moved.after);
                    format!("{name}: {bucket_name} {before} {delta:+} is {right}, but the change says {told}")
                });
            }
            if moved.after < 0 {
                findings.add(Check::Negative, shard, seq, || {
                    format!("{name}: {bucket_name} is {}", moved.after)
                });
            }
            if bucket == Bucket::Deficit && moved.delta > 0 && step.kind != ChangeKind::Counted {
                findings.add(Check::DeficitRaised, shard, seq, || {
                    let kind = names::kind(step.kind);
                    format!("{name}: {kind} raises the deficit by {}", moved.delta)
                });
            }
            if bucket == Bucket::Pool {
                cell.set_pool(storefront, moved.after);
            } else {
                cell.buckets[place(bucket)] = moved.after;
            }
        }
        cell.flow = cell.flow.wrapping_add(step.delta(Bucket::OnHand));
        self.touched.push(key);
    }

    /// Checks what must hold after each entry, in the cells that the entry moved.
    pub(super) fn end_entry(&mut self, shard: u32, seq: u64, findings: &mut Findings) {
        let touched = std::mem::take(&mut self.touched);
        for key in &touched {
            let name = || self.describe(*key);
            let Some(cell) = self.cells.get(key) else { continue };
            let imbalance = cell.imbalance();
            if imbalance != cell.told_imbalance && imbalance != 0 {
                findings.add(Check::Unbalanced, shard, seq, || {
                    format!(
                        "{}: on_hand is {imbalance:+} off from the sum of the buckets",
                        name()
                    )
                });
            }
            let on_hand = cell.buckets[place(Bucket::OnHand)];
            if cell.flow != on_hand {
                findings.add(Check::WrongFlow, shard, seq, || {
                    format!(
                        "{}: on_hand is {on_hand}, but what came in minus what left is {}",
                        name(),
                        cell.flow
                    )
                });
            }
            let oversold = cell.promised_too_much();
            if oversold > cell.oversold {
                findings.add(Check::Oversold, shard, seq, || {
                    format!("{}: {oversold} units are promised and do not exist", name())
                });
            }
            let sellable = [Bucket::Free, Bucket::Pool, Bucket::Safety].map(|b| cell.buckets[place(b)]);
            if cell.buckets[place(Bucket::Deficit)] > 0 && sellable.iter().any(|units| *units != 0) {
                findings.add(Check::SellableInDeficit, shard, seq, || {
                    let [free, pool, safety] = sellable;
                    format!(
                        "{}: there is a deficit beside stock that could fill it: free {free}, pools {pool}, safety {safety}",
                        name()
                    )
                });
            }
            let [free, ..] = sellable;
            let backordered = cell.buckets[place(Bucket::Backordered)];
            if backordered > 0 && free != 0 {
                findings.add(Check::FreeInBackorder, shard, seq, || {
                    format!(
                        "{}: {backordered} units are backordered and {free} are free",
                        name()
                    )
                });
            }
            if let Some(cell) = self.cells.get_mut(key) {
                cell.told_imbalance = imbalance;
                cell.flow = on_hand;
                cell.oversold = cell.oversold.max(oversold);
            }
        }
        self.touched = touched;
        self.touched.clear();
    }

    /// Returns the units that were ever promised beyond the stock, over all cells.
    pub(super) fn oversold(&self) -> u64 {
        let sum: i128 = self.cells.values().map(|cell| cell.oversold).sum();
        u64::try_from(sum).unwrap_or(u64::MAX)
    }

    /// Compares each cell with the units that open reservations have of it, and reports differences.
    pub(super) fn compare_promises(
        &self,
        mut promised: HashMap<CellKey, (i64, i64)>,
        shard: u32,
        findings: &mut Findings,
    ) {
        let mut differing = Vec::new();
        for (key, cell) in &self.cells {
            let (held, committed) = promised.remove(key).unwrap_or_default();
            let told = (
                cell.buckets[place(Bucket::Held)],
                cell.buckets[place(Bucket::Committed)],
            );
            if told != (held, committed) {
                differing.push((*key, told, (held, committed)));
            }
        }
        differing.extend(promised.into_iter().map(|(key, owned)| (key, (0, 0), owned)));
        differing.sort();
        for (key, told, owned) in differing {
            findings.add(Check::PromisesDiffer, shard, 0, || {
                let name = self.describe(key);
                let (held, committed) = told;
                format!(
                    "{name}: held is {held} and committed is {committed}, but open reservations have {} and {}",
                    owned.0, owned.1
                )
            });
        }
    }

    /// Compares each cell with the units that open transfers have on the way to it, and reports differences.
    pub(super) fn compare_in_transit(
        &self,
        mut sent: HashMap<CellKey, i64>,
        shard: u32,
        findings: &mut Findings,
    ) {
        let told = |cell: &Cell| cell.buckets[place(Bucket::InTransit)];
        let mut differing: Vec<(CellKey, i64, i64)> = Vec::new();
        for (key, cell) in &self.cells {
            differing.push((*key, told(cell), sent.remove(key).unwrap_or(0)));
        }
        differing.extend(sent.into_iter().map(|(key, sent)| (key, 0, sent)));
        differing.retain(|(_, told, sent)| told != sent);
        differing.sort_unstable();
        for (key, told, sent) in differing {
            findings.add(Check::WrongTransfer, shard, 0, || {
                let name = self.describe(key);
                format!(
                    "{name}: the changes say that {told} units are in transit, but open transfers have {sent}"
                )
            });
        }
    }

    /// Compares one live cell with the replayed one.
    pub(super) fn compare_live(&mut self, live: &v1::Cell, shard: u32, seq: u64, findings: &mut Findings) {
        let key = (self.skus.number(&live.sku), self.places.number(&live.warehouse));
        let name = self.describe(key);
        let mut pools: Vec<(u32, i64)> = Vec::with_capacity(live.pools.len());
        for pool in &live.pools {
            pools.push((self.places.number(&pool.storefront), pool.quantity));
        }
        pools.retain(|(_, units)| *units != 0);
        pools.sort_unstable();
        let cell = match self.cells.entry(key) {
            Entry::Occupied(cell) => cell.into_mut(),
            Entry::Vacant(cell) => cell.insert(Cell::default()),
        };
        if std::mem::replace(&mut cell.compared, true) {
            findings.add(Check::LiveStockDiffers, shard, seq, || {
                format!("{name}: the live stock lists the cell twice")
            });
        }
        let pool_sum = pools
            .iter()
            .fold(0i64, |sum, (_, units)| sum.saturating_add(*units));
        let told = [
            live.on_hand,
            live.free,
            pool_sum,
            live.safety,
            live.held,
            live.committed,
            live.damaged,
            live.quality_hold,
            live.deficit,
            live.backordered,
            live.in_transit,
        ];
        let mut own_pools = cell.pools.clone();
        own_pools.sort_unstable();
        let own = cell.buckets;
        if told == own && pools == own_pools {
            return;
        }
        let places = &self.places;
        findings.add(Check::LiveStockDiffers, shard, seq, || {
            let mut differences: Vec<String> = BUCKETS
                .into_iter()
                .filter(|bucket| told[place(*bucket)] != own[place(*bucket)])
                .map(|b| format!("{} {} not {}", names::bucket(b), told[place(b)], own[place(b)]))
                .collect();
            if differences.is_empty() {
                let text = |pools: &[(u32, i64)]| {
                    let pools = pools
                        .iter()
                        .map(|(of, units)| format!("{} {units}", places.text(*of)));
                    pools.collect::<Vec<_>>().join(", ")
                };
                differences.push(format!("pools ({}) not ({})", text(&pools), text(&own_pools)));
            }
            format!("{name}: live {}", differences.join(", "))
        });
    }

    /// Reports every replayed cell with stock that was missing in the live listing. Returns how many cells
    /// were compared.
    pub(super) fn end_live(&self, shard: u32, seq: u64, findings: &mut Findings) -> u64 {
        let missing = self.cells.iter().filter(|(_, cell)| !cell.compared);
        let mut missing: Vec<CellKey> = missing
            .filter(|(_, cell)| cell.buckets.iter().any(|units| *units != 0))
            .map(|(key, _)| *key)
            .collect();
        missing.sort_unstable();
        for key in missing {
            findings.add(Check::LiveStockDiffers, shard, seq, || {
                format!("{}: the live stock has no such cell", self.describe(key))
            });
        }
        self.cells.values().filter(|cell| cell.compared).count() as u64
    }
}

impl Cell {
    fn pool(&self, storefront: u32) -> i64 {
        self.pools
            .iter()
            .find(|(of, _)| *of == storefront)
            .map_or(0, |(_, units)| *units)
    }

    fn set_pool(&mut self, storefront: u32, units: i64) {
        self.pools.retain(|(of, _)| *of != storefront);
        if units != 0 {
            self.pools.push((storefront, units));
        }
        let sum = self
            .pools
            .iter()
            .fold(0i64, |sum, (_, units)| sum.saturating_add(*units));
        self.buckets[place(Bucket::Pool)] = sum;
    }

    /// Returns `on_hand` minus the value that follows from the buckets.
    fn imbalance(&self) -> i128 {
        let units = |bucket| i128::from(self.buckets[place(bucket)]);
        let inside = BUCKETS.into_iter().filter(|b| {
            !matches!(
                b,
                Bucket::OnHand | Bucket::Deficit | Bucket::Backordered | Bucket::InTransit
            )
        });
        let owed = units(Bucket::Deficit) + units(Bucket::Backordered);
        units(Bucket::OnHand) - (inside.map(units).sum::<i128>() - owed)
    }

    /// Returns the units promised beyond the stock, or sold below zero. A deficit that a count found is known
    /// and recorded, and a stock policy allows a backorder; neither counts here.
    fn promised_too_much(&self) -> i128 {
        let units = |bucket| i128::from(self.buckets[place(bucket)]);
        let promised = units(Bucket::Held) + units(Bucket::Committed);
        let owned = units(Bucket::Deficit) + units(Bucket::Backordered);
        let missing = promised - units(Bucket::OnHand) - owned;
        let pools = self.pools.iter().map(|(_, units)| i128::from(*units).min(0));
        let below_zero = units(Bucket::Free).min(0) + pools.sum::<i128>();
        missing.max(-below_zero).max(0)
    }
}
