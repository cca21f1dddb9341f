//! Rebuilds all quantities of a shard from its changes, and compares them with the live ones.
//!
//! ```text
//!   archive   1 .............. E │                 Drill ──> Comparison ── live cells at exactly P
//!   stream                       │ E+1 .... P      fold        digests of both sides; cells that differ
//! ```
//!
//! A drill answers whether the archive could replace the ledger. It adds up the changes by the arithmetic of
//! `holdfast-history`, which shares nothing with the ledger.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_api::v1::{self, Change};
use holdfast_history::{At, Fault, Reading, ShardStock};
use holdfast_lake::Sha256;
use prost::Message as _;
use serde::Serialize;

/// The most differences of a shard that are kept. The others are only counted.
const KEPT_DIFFERENCES: usize = 100;

/// A digest of cells that does not depend on their order. Cells without units do not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CellsDigest([u64; 4]);

impl CellsDigest {
    /// Adds a cell: its SHA-256 is added to the sum, in four parts of 64 bits.
    fn add(&mut self, cell: &v1::Cell) {
        let hash = Sha256::of(&cell.encode_to_vec());
        for (sum, part) in self.0.iter_mut().zip(hash.0.chunks_exact(8)) {
            let part = part
                .iter()
                .fold(0_u64, |number, byte| (number << 8) | u64::from(*byte));
            *sum = sum.wrapping_add(part);
        }
    }
}

impl fmt::Display for CellsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| write!(f, "{part:016x}"))
    }
}

impl Serialize for CellsDigest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A shard that is being rebuilt.
#[derive(Debug)]
pub struct Drill {
    reading: Reading<ShardStock>,
}

impl Drill {
    /// Begins before the first change of a shard.
    pub fn new(shard: u32) -> Self {
        Self {
            reading: Reading::new(shard, At::LogTimeMs(u64::MAX), ShardStock::new()),
        }
    }

    /// Returns the change that has to come next.
    pub fn next_seq(&self) -> u64 {
        self.reading.next_seq()
    }

    /// Takes the next change. Skips a change that came before.
    ///
    /// # Errors
    /// [`Fault`]: a change is missing, or contradicts those before it.
    pub fn observe(&mut self, change: &Change) -> Result<(), Fault> {
        self.reading.observe(change)
    }

    /// Ends the rebuilding. The live cells to compare with must be those after the last change that was
    /// taken.
    pub fn compare(self) -> Comparison {
        let (shard, at_seq) = (self.reading.shard(), self.reading.next_seq() - 1);
        // A shard without changes has no cells.
        let cells = self.reading.finish().map(|(_, stock)| stock).unwrap_or_default();
        let mut rebuilt_digest = CellsDigest::default();
        let mut rebuilt = BTreeMap::new();
        for cell in cells.cells().filter(has_units) {
            rebuilt_digest.add(&cell);
            rebuilt.insert((cell.sku.clone(), cell.warehouse.clone()), cell);
        }
        Comparison {
            rebuilt,
            result: ShardDrill {
                shard,
                at_seq,
                equal: false,
                cells: 0,
                rebuilt_digest,
                live_digest: CellsDigest::default(),
                difference_count: 0,
                differences: Vec::new(),
            },
        }
    }
}

/// The comparison of a rebuilt shard with the live one.
#[derive(Debug)]
pub struct Comparison {
    /// The rebuilt cells that no live cell was compared with.
    rebuilt: BTreeMap<(String, String), v1::Cell>,
    result: ShardDrill,
}

/// The result for one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ShardDrill {
    /// The number of the shard.
    pub shard: u32,
    /// The change after which both sides stand.
    pub at_seq: u64,
    /// True when both sides are equal.
    pub equal: bool,
    /// The number of live cells with units.
    pub cells: u64,
    /// The digest of the rebuilt cells.
    pub rebuilt_digest: CellsDigest,
    /// The digest of the live cells.
    pub live_digest: CellsDigest,
    /// The number of cells that differ.
    pub difference_count: u64,
    /// The first cells that differ.
    pub differences: Vec<CellDifference>,
}

/// A cell that differs. A side without the cell, or with a cell without units, is None.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CellDifference {
    /// The SKU.
    pub sku: String,
    /// The warehouse.
    pub warehouse: String,
    /// The rebuilt quantities, in words.
    pub rebuilt: Option<String>,
    /// The live quantities, in words.
    pub live: Option<String>,
}

impl Comparison {
    /// Compares live cells, in any order. Each cell comes once.
    pub fn live(&mut self, cells: &[v1::Cell]) {
        for live in cells {
            let rebuilt = self.rebuilt.remove(&(live.sku.clone(), live.warehouse.clone()));
            let mut live = live.clone();
            live.pools.retain(|pool| pool.quantity != 0);
            let live = Some(live).filter(has_units);
            if let Some(live) = &live {
                self.result.cells += 1;
                self.result.live_digest.add(live);
            }
            if rebuilt != live {
                self.differ(rebuilt, live);
            }
        }
    }

    /// Ends the comparison after the last live cell.
    pub fn end(mut self) -> ShardDrill {
        for missing in std::mem::take(&mut self.rebuilt).into_values() {
            self.differ(Some(missing), None);
        }
        let result = &mut self.result;
        result.equal = result.difference_count == 0 && result.rebuilt_digest == result.live_digest;
        self.result
    }

    fn differ(&mut self, rebuilt: Option<v1::Cell>, live: Option<v1::Cell>) {
        self.result.difference_count += 1;
        let Some(of) = rebuilt.as_ref().or(live.as_ref()) else {
            return;
        };
        if self.result.differences.len() < KEPT_DIFFERENCES {
            self.result.differences.push(CellDifference {
                sku: of.sku.clone(),
                warehouse: of.warehouse.clone(),
                rebuilt: rebuilt.as_ref().map(told),
                live: live.as_ref().map(told),
            });
        }
    }
}

/// Returns the quantities of a cell by their names, without those that are 0.
fn quantities(cell: &v1::Cell) -> Vec<(&str, i64)> {
    let mut all = vec![
        ("on_hand", cell.on_hand),
        ("free", cell.free),
        ("safety", cell.safety),
        ("held", cell.held),
        ("committed", cell.committed),
        ("damaged", cell.damaged),
        ("quality_hold", cell.quality_hold),
        ("deficit", cell.deficit),
        ("backordered", cell.backordered),
        ("in_transit", cell.in_transit),
    ];
    all.extend(
        cell.pools
            .iter()
            .map(|pool| (pool.storefront.as_str(), pool.quantity)),
    );
    all.retain(|(_, units)| *units != 0);
    all
}

fn has_units(cell: &v1::Cell) -> bool {
    !quantities(cell).is_empty()
}

fn told(cell: &v1::Cell) -> String {
    let quantities = quantities(cell);
    let told = quantities.iter().map(|(name, units)| format!("{name} {units}"));
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use holdfast_api::v1::{Bucket, BucketMove, ChangeKind, Pool};

    use super::*;

    /// Receives units of a SKU into the free stock of a warehouse.
    fn received(seq: u64, sku: &str, units: i64, after: i64) -> Change {
        let moved = |bucket: Bucket| BucketMove {
            bucket: bucket.into(),
            delta: units,
            after,
        };
        Change {
            shard: 4,
            seq,
            entry_changes: 1,
            kind: ChangeKind::Received.into(),
            sku: sku.into(),
            warehouse: "east".into(),
            moves: vec![moved(Bucket::OnHand), moved(Bucket::Free)],
            ..Change::default()
        }
    }

    fn cell(sku: &str, units: i64) -> v1::Cell {
        v1::Cell {
            on_hand: units,
            free: units,
            ..v1::Cell::empty(sku, "east")
        }
    }

    fn drilled(live: &[v1::Cell]) -> ShardDrill {
        let mut drill = Drill::new(4);
        for change in [
            received(1, "tea", 5, 5),
            received(2, "cup", 1, 1),
            received(3, "tea", 2, 7),
        ] {
            drill.observe(&change).unwrap();
        }
        assert_eq!(drill.next_seq(), 4);
        let mut comparison = drill.compare();
        comparison.live(live);
        comparison.end()
    }

    #[test]
    fn equal_stock_has_equal_digests_in_any_order() {
        let empty_pool = Pool {
            storefront: "shop".into(),
            quantity: 0,
        };
        let mut tea = cell("tea", 7);
        tea.pools.push(empty_pool);
        let result = drilled(&[tea, cell("cup", 1), cell("none", 0)]);
        assert!(result.equal, "{result:?}");
        assert_eq!((result.at_seq, result.cells, result.difference_count), (3, 2, 0));
        assert_eq!(
            result.live_digest,
            drilled(&[cell("cup", 1), cell("tea", 7)]).rebuilt_digest
        );
    }

    #[test]
    fn every_cell_that_differs_is_named() {
        let more = [cell("cup", 1), cell("tea", 7), cell("pot", 1)];
        let other = [cell("cup", 1), cell("tea", 8)];
        let twice = [cell("cup", 1), cell("tea", 7), cell("tea", 7)];
        let difference = |sku: &str, rebuilt: Option<i64>, live: Option<i64>| {
            let told = |units: i64| format!("on_hand {units}, free {units}");
            CellDifference {
                sku: sku.into(),
                warehouse: "east".into(),
                rebuilt: rebuilt.map(told),
                live: live.map(told),
            }
        };
        for (live, expected) in [
            (&more[..], difference("pot", None, Some(1))),
            (&more[..1], difference("tea", Some(7), None)),
            (&other, difference("tea", Some(7), Some(8))),
            (&twice, difference("tea", None, Some(7))),
        ] {
            let result = drilled(live);
            assert!(
                !result.equal && result.rebuilt_digest != result.live_digest,
                "{result:?}"
            );
            assert_eq!(
                (result.difference_count, &result.differences[..]),
                (1, &[expected][..])
            );
        }
    }

    #[test]
    fn a_gap_is_a_fault_and_a_shard_without_changes_is_empty() {
        let mut drill = Drill::new(4);
        assert!(drill.observe(&received(2, "tea", 5, 5)).is_err());
        let result = drill.compare().end();
        assert!(result.equal && result.at_seq == 0, "{result:?}");
    }
}
