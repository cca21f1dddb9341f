//! Random but sound changes of one shard: no bucket falls below 0, and each change says what it holds
//! afterwards.

use std::collections::BTreeMap;

use holdfast_api::v1::{Bucket, BucketMove, Change, ChangeKind, PolicyEffect};
use proptest::prelude::*;

/// SKUs whose characters mean something in keys, patterns, scripts or Lua.
pub(crate) const SKUS: [&str; 10] = [
    "SHIRT-1",
    "A{x}|B",
    "{other}",
    "}{",
    "a:b:{0001}:sku:c",
    "Größe XL",
    "尺寸 42",
    "*",
    "[x]?*\\ \"%d\"",
    "front:web@LDN-1",
];
/// Warehouses, of all characters that a name may have.
pub(crate) const WAREHOUSES: [&str; 4] = ["LDN-1", "W:2", "a/b_.", "0"];
/// Storefronts, of all characters that a name may have.
pub(crate) const STOREFRONTS: [&str; 4] = ["web", "app", "de:shop", "a.b/c-_"];
/// Units: small ones, those at which a double begins to round, and very large ones.
const UNITS: [i64; 8] = [
    1,
    7,
    1_000,
    (1 << 53) - 1,
    1 << 53,
    (1 << 53) + 1,
    i64::MAX / 1_000,
    i64::MAX / 4,
];

/// One step of a story. It is left out where it would not be sound.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Goods arrive.
    Receive { cell: Place, units: i64 },
    /// Free units move to another bucket.
    Hold { cell: Place, units: i64, bucket: Bucket },
    /// Units of another bucket become free again.
    GiveBack { cell: Place, units: i64, bucket: Bucket },
    /// Free units go into a pool.
    Allocate {
        cell: Place,
        storefront: usize,
        units: i64,
    },
    /// Units of a pool are sold and leave.
    SellFromPool {
        cell: Place,
        storefront: usize,
        units: i64,
    },
    /// A storefront may borrow free units of a SKU, or not.
    Policy {
        sku: usize,
        storefront: usize,
        may_borrow: bool,
    },
    /// Units go to another warehouse: two changes of one entry.
    Transfer { cell: Place, to: usize, units: i64 },
    /// A supply is expected: no unit moves.
    Expect { cell: Place },
    /// A hold is prolonged: the change has no SKU.
    Note,
}

/// A cell, by the places of its names in the lists.
pub(crate) type Place = (usize, usize);

/// Returns steps of all kinds.
pub(crate) fn steps() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let cell = || (0..SKUS.len(), 0..WAREHOUSES.len());
    let units = || prop::sample::select(&UNITS[..]);
    let bucket = || {
        prop::sample::select(vec![
            Bucket::Held,
            Bucket::Committed,
            Bucket::Safety,
            Bucket::Damaged,
            Bucket::QualityHold,
        ])
    };
    let step = prop_oneof![
        4 => (cell(), units()).prop_map(|(cell, units)| Step::Receive { cell, units }),
        2 => (cell(), units(), bucket())
            .prop_map(|(cell, units, bucket)| Step::Hold { cell, units, bucket }),
        1 => (cell(), units(), bucket())
            .prop_map(|(cell, units, bucket)| Step::GiveBack { cell, units, bucket }),
        2 => (cell(), 0..STOREFRONTS.len(), units())
            .prop_map(|(cell, storefront, units)| Step::Allocate { cell, storefront, units }),
        2 => (cell(), 0..STOREFRONTS.len(), units())
            .prop_map(|(cell, storefront, units)| Step::SellFromPool { cell, storefront, units }),
        2 => (0..SKUS.len(), 0..STOREFRONTS.len(), any::<bool>())
            .prop_map(|(sku, storefront, may_borrow)| Step::Policy { sku, storefront, may_borrow }),
        1 => (cell(), 0..WAREHOUSES.len(), units())
            .prop_map(|(cell, to, units)| Step::Transfer { cell, to, units }),
        1 => cell().prop_map(|cell| Step::Expect { cell }),
        1 => Just(Step::Note),
    ];
    // The steps of an inner list become one entry.
    prop::collection::vec(prop::collection::vec(step, 1..5), 1..60)
}

/// Tells the steps as changes of a shard, numbered from 1.
pub(crate) fn tell(shard: u32, entries: &[Vec<Step>]) -> Vec<Change> {
    let mut teller = Teller::default();
    let mut changes: Vec<Change> = Vec::new();
    for (entry, steps) in (1_u64..).zip(entries) {
        let begin = changes.len();
        for step in steps {
            changes.extend(teller.step(step));
        }
        let count = changes.len() - begin;
        for (offset, change) in changes[begin..].iter_mut().enumerate() {
            change.shard = shard;
            change.seq = (begin + offset + 1) as u64;
            change.entry_changes = count as u32;
            change.entry_offset = offset as u32;
            change.log_index = entry;
            change.log_time_ms = 1_800_000_000_000 + entry;
        }
    }
    changes
}

/// Returns an entry in which goods arrive.
pub(crate) fn receive(sku: usize, warehouse: usize, units: i64) -> Vec<Step> {
    vec![Step::Receive {
        cell: (sku, warehouse),
        units,
    }]
}

#[derive(Default)]
struct Teller {
    cells: BTreeMap<(Place, Bucket, usize), i64>,
}

impl Teller {
    fn step(&mut self, step: &Step) -> Vec<Change> {
        match *step {
            Step::Receive { cell, units } => {
                // The ledger keeps the sum of a cell below 2^63, and so does this story for a whole SKU.
                let there: i128 = self
                    .cells
                    .iter()
                    .filter(|(((sku, _), _, _), _)| *sku == cell.0)
                    .map(|(_, units)| i128::from(*units))
                    .sum();
                if there + 2 * i128::from(units) > i128::from(i64::MAX) {
                    return Vec::new();
                }
                self.moved(
                    ChangeKind::Received,
                    cell,
                    None,
                    &[(Bucket::OnHand, units), (Bucket::Free, units)],
                )
            }
            Step::Hold { cell, units, bucket } => self.moved(
                ChangeKind::Reserved,
                cell,
                None,
                &[(Bucket::Free, -units), (bucket, units)],
            ),
            Step::GiveBack { cell, units, bucket } => self.moved(
                ChangeKind::Released,
                cell,
                None,
                &[(bucket, -units), (Bucket::Free, units)],
            ),
            Step::Allocate {
                cell,
                storefront,
                units,
            } => self.moved(
                ChangeKind::PoolAllocated,
                cell,
                Some(storefront),
                &[(Bucket::Free, -units), (Bucket::Pool, units)],
            ),
            Step::SellFromPool {
                cell,
                storefront,
                units,
            } => self.moved(
                ChangeKind::Shipped,
                cell,
                Some(storefront),
                &[(Bucket::OnHand, -units), (Bucket::Pool, -units)],
            ),
            Step::Policy {
                sku,
                storefront,
                may_borrow,
            } => vec![Change {
                kind: ChangeKind::PolicySet.into(),
                sku: SKUS[sku].to_owned(),
                storefront: STOREFRONTS[storefront].to_owned(),
                policy: Some(PolicyEffect {
                    may_borrow,
                    ..PolicyEffect::default()
                }),
                ..Change::default()
            }],
            Step::Transfer { cell, to, .. } if cell.1 == to => Vec::new(),
            Step::Transfer { cell, to, units } => {
                let out = [(Bucket::OnHand, -units), (Bucket::Free, -units)];
                let mut changes = self.moved(ChangeKind::TransferredOut, cell, None, &out);
                if !changes.is_empty() {
                    let arriving = [(Bucket::InTransit, units)];
                    let target = (cell.0, to);
                    changes.extend(self.moved(ChangeKind::TransferredOut, target, None, &arriving));
                }
                changes
            }
            Step::Expect { cell } => self.moved(ChangeKind::SupplyExpected, cell, None, &[]),
            Step::Note => vec![Change {
                kind: ChangeKind::Extended.into(),
                storefront: STOREFRONTS[0].to_owned(),
                ..Change::default()
            }],
        }
    }

    /// Returns the change, or nothing when a bucket would fall below 0.
    fn moved(
        &mut self,
        kind: ChangeKind,
        cell: Place,
        storefront: Option<usize>,
        moves: &[(Bucket, i64)],
    ) -> Vec<Change> {
        let key = |bucket: Bucket| match (bucket, storefront) {
            (Bucket::Pool, Some(storefront)) => (cell, bucket, storefront),
            _ => (cell, bucket, usize::MAX),
        };
        let is_sound = moves.iter().all(|(bucket, delta)| {
            let there = self.cells.get(&key(*bucket)).copied().unwrap_or_default();
            there.checked_add(*delta).is_some_and(|after| after >= 0)
        });
        if !is_sound {
            return Vec::new();
        }
        let moves = moves.iter().map(|(bucket, delta)| {
            let units = self.cells.entry(key(*bucket)).or_default();
            *units += delta;
            BucketMove {
                bucket: (*bucket).into(),
                delta: *delta,
                after: *units,
            }
        });
        vec![Change {
            kind: kind.into(),
            sku: SKUS[cell.0].to_owned(),
            warehouse: WAREHOUSES[cell.1].to_owned(),
            storefront: storefront
                .map_or("", |storefront| STOREFRONTS[storefront])
                .to_owned(),
            moves: moves.collect(),
            ..Change::default()
        }]
    }
}
