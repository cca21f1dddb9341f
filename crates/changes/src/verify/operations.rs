//! Checks that no operation takes effect twice. An operation's changes stand next to each other in one entry.
//! If its id appears anywhere else in the shard, or does the same thing to the same place again, it took
//! effect twice.

use std::collections::{HashMap, HashSet};

use holdfast_api::v1::{Bucket, ChangeKind};

use super::cells::CellKey;
use super::finding::{Check, Findings};
use super::spill::Spill;
use super::step::{Id, Step};

const KEY: usize = 4 + 16;
const RECORD: usize = KEY + 8;

/// The operations of all shards. A record has the shard, the id and the first change.
#[derive(Debug)]
pub(super) struct Operations {
    seen: Spill<KEY, RECORD>,
    current: Option<(u32, Id, u64)>,
    /// The effects of the current operation.
    effects: HashSet<Effect>,
    /// The goods that it moved, by cell.
    goods: HashMap<CellKey, Goods>,
}

#[derive(Debug, Default)]
struct Goods {
    on_hand: i128,
    /// How far the backordered units went up, and whether a recount raised them.
    backordered: i128,
    is_backordered_by_count: bool,
    is_counted: bool,
    is_moved: bool,
    /// The last change of the goods.
    last: (u32, u64),
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Effect {
    kind: ChangeKind,
    cell: CellKey,
    storefront: String,
}

impl Operations {
    pub(super) fn new() -> Self {
        Self {
            seen: Spill::new(),
            current: None,
            effects: HashSet::new(),
            goods: HashMap::new(),
        }
    }

    pub(super) fn observe(
        &mut self,
        step: &Step<'_>,
        cell: CellKey,
        findings: &mut Findings,
    ) -> std::io::Result<()> {
        let change = step.change;
        // The steps of an order share its id, and an attempt after an abort is still the same order. The
        // places of its units show whether an order took effect twice.
        let of_an_order = matches!(
            step.kind,
            ChangeKind::Prepared | ChangeKind::Confirmed | ChangeKind::Aborted
        );
        let Some(id) = step.operation.filter(|_| !of_an_order) else {
            self.current = None;
            return Ok(());
        };
        let current = (change.shard, id, change.log_index);
        if self.current != Some(current) {
            self.current = Some(current);
            self.effects.clear();
            self.end_operation(findings);
            let mut record = [0; RECORD];
            record[..4].copy_from_slice(&change.shard.to_be_bytes());
            record[4..KEY].copy_from_slice(&id);
            record[KEY..].copy_from_slice(&change.seq.to_be_bytes());
            self.seen.push(&record)?;
        }
        let goods = self.goods.entry(cell).or_default();
        goods.is_counted |= step.kind == ChangeKind::Counted;
        goods.is_moved |= step.kind != ChangeKind::Counted && step.delta(Bucket::OnHand) != 0;
        goods.on_hand += i128::from(step.delta(Bucket::OnHand));
        goods.backordered += i128::from(step.delta(Bucket::Backordered));
        goods.is_backordered_by_count |=
            step.kind == ChangeKind::Counted && step.delta(Bucket::Backordered) > 0;
        goods.last = (change.shard, change.seq);
        // The places of its units show whether something happened twice to a reservation.
        if step.reservation.is_some() {
            // Each of its movements may have a recount beside it.
            self.effects.retain(|effect| effect.kind != ChangeKind::Counted);
        } else {
            let effect = Effect {
                kind: step.kind,
                cell,
                storefront: change.storefront.clone(),
            };
            if !self.effects.insert(effect) {
                findings.add(Check::OperationTwice, change.shard, change.seq, || {
                    format!(
                        "operation {} did the same thing twice",
                        uuid::Uuid::from_bytes(id)
                    )
                });
            }
        }
        Ok(())
    }

    /// Checks goods that are booked after a count has seen them. They leave what is on hand as it is: the
    /// movement and the recount cancel out.
    fn end_operation(&mut self, findings: &mut Findings) {
        for goods in self.goods.drain().map(|(_, goods)| goods) {
            // The recount takes back what the goods beside it had filled, and no more.
            if goods.is_backordered_by_count && goods.backordered > 0 {
                let (shard, seq) = goods.last;
                findings.add(Check::WrongMovement, shard, seq, || {
                    format!("counted raises what is backordered by {}", goods.backordered)
                });
            }
            if goods.is_counted && goods.is_moved && goods.on_hand != 0 {
                let (shard, seq) = goods.last;
                findings.add(Check::WrongFlow, shard, seq, || {
                    format!(
                        "a movement that a count has seen, and the recount beside it, change on_hand by {:+}",
                        goods.on_hand
                    )
                });
            }
        }
    }

    /// Checks everything that was kept on disk.
    pub(super) fn finish(mut self, findings: &mut Findings) -> std::io::Result<()> {
        self.end_operation(findings);
        self.seen.drain(|records| {
            for pair in records.windows(2).filter(|pair| pair[0][..KEY] == pair[1][..KEY]) {
                let [first, again] = [pair[0], pair[1]].map(|record| number(&record[KEY..]));
                let shard = number(&pair[0][..4]) as u32;
                findings.add(Check::OperationTwice, shard, again, || {
                    let id = uuid::Uuid::from_slice(&pair[0][4..KEY]).unwrap_or_default();
                    format!("operation {id} took effect at change {first} and again at change {again}")
                });
            }
        })
    }
}

/// Reads a number of up to eight bytes, most significant first.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
