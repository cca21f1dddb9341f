//! Late goods: goods that are booked after a count that has already seen their movement.
//!
//! A delivery is put on the shelf, counted, and only then booked. The booking must not add it a second time.
//! So a command may name the change after which its goods moved, and the ledger remembers the change as of
//! which each cell was counted. If a count has already seen the movement, the same entry takes back the units
//! that the count found or missed for that reason. The movement and the recount are two changes, and their
//! effects on `on_hand` cancel.
//!
//! A position is a change of the shard. Something "as of" a change happened right after it. A count as of a
//! change has seen every movement as of that change or an earlier one. A count as of a later change replaces
//! it.

use std::collections::{BTreeMap, VecDeque, btree_map::Entry};

use serde::{Deserialize, Serialize};

use super::cell_key::CellKey;
use crate::limits::KEPT_MOVEMENTS;

/// The positions of counts, and the positions of goods that were booked late. Kept since the second rules
/// were adopted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Late {
    /// Counts in the order in which they were booked.
    counts: VecDeque<CountedAt>,
    /// The first change with known counts. Counts before it are not known.
    begun_seq: u64,
    /// The latest position of a count that later counts pushed out.
    forgotten_seq: Option<u64>,
    /// The change after which goods really moved, by the change of their movement. It is always the earlier
    /// one. Never more entries than movements that are kept.
    moved_after: BTreeMap<u64, u64>,
    /// The position of each cell's last count, and the number of its known counts. Follows from the counts.
    /// With it, late goods cost the same however many counts there are.
    #[serde(skip)]
    last_counts: BTreeMap<CellKey, (u64, usize)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct CountedAt {
    cell: CellKey,
    as_of_seq: u64,
}

/// Returns, by cell, the position of the last count and the number of counts. None when a count was booked
/// after a later one.
fn last_counts(counts: &VecDeque<CountedAt>) -> Option<BTreeMap<CellKey, (u64, usize)>> {
    let mut all: BTreeMap<CellKey, (u64, usize)> = BTreeMap::new();
    for count in counts {
        let (last, known) = all.entry(count.cell).or_default();
        if count.as_of_seq < *last {
            return None;
        }
        *last = count.as_of_seq;
        *known += 1;
    }
    Some(all)
}

impl Late {
    /// Computes the fields that follow from the others. None when counts are out of order.
    pub(crate) fn with_last_counts(self) -> Option<Self> {
        let last_counts = last_counts(&self.counts)?;
        Some(Self { last_counts, ..self })
    }

    /// Marks all counts before this change as unknown.
    pub(crate) fn begin(&mut self, last_seq: u64) {
        self.begun_seq = self.begun_seq.max(last_seq);
    }

    /// Returns the earliest position that late goods may name. Every count as of it or later is known.
    pub(crate) fn oldest_seq(&self) -> u64 {
        let after_forgotten = self.forgotten_seq.map_or(0, |seq| seq + 1);
        self.begun_seq.max(after_forgotten)
    }

    /// Returns the earliest position that a count may name. If the cell was counted as of a later one since
    /// the second rules were adopted, that count is known.
    pub(crate) fn oldest_count_seq(&self) -> u64 {
        self.forgotten_seq.unwrap_or(0)
    }

    /// Returns the latest position as of which a cell was counted.
    pub(crate) fn last_count(&self, cell: CellKey) -> Option<u64> {
        self.last_counts.get(&cell).map(|(as_of_seq, _)| *as_of_seq)
    }

    /// Remembers a count, unless a later one is known.
    pub(crate) fn counted(&mut self, cell: CellKey, as_of_seq: u64) {
        if self.last_count(cell) > Some(as_of_seq) {
            return;
        }
        if self.counts.len() == KEPT_MOVEMENTS
            && let Some(oldest) = self.counts.pop_front()
        {
            self.forgotten_seq = self.forgotten_seq.max(Some(oldest.as_of_seq));
            if let Entry::Occupied(mut of_cell) = self.last_counts.entry(oldest.cell) {
                of_cell.get_mut().1 -= 1;
                if of_cell.get().1 == 0 {
                    of_cell.remove();
                }
            }
        }
        self.counts.push_back(CountedAt { cell, as_of_seq });
        let (last, known) = self.last_counts.entry(cell).or_default();
        *last = as_of_seq;
        *known += 1;
    }

    /// Remembers when the goods of a change moved. Forgets this for changes up to `dropped_seq`.
    pub(crate) fn moved(&mut self, seq: u64, as_of_seq: u64, dropped_seq: u64) {
        self.moved_after.insert(seq, as_of_seq);
        while self
            .moved_after
            .first_key_value()
            .is_some_and(|(seq, _)| *seq <= dropped_seq)
        {
            self.moved_after.pop_first();
        }
    }

    /// Returns the change after which the goods of a change moved.
    pub(crate) fn moved_after(&self, seq: u64) -> u64 {
        self.moved_after.get(&seq).copied().unwrap_or(seq)
    }

    pub(crate) fn check(&self, last_seq: u64, known: impl Fn(CellKey) -> bool) -> Result<(), String> {
        let counted = |count: &CountedAt| count.as_of_seq <= last_seq && known(count.cell);
        let moved = |(seq, as_of_seq): (&u64, &u64)| as_of_seq < seq && *seq <= last_seq;
        let bounded = self.counts.len() <= KEPT_MOVEMENTS && self.moved_after.len() <= KEPT_MOVEMENTS + 1;
        if bounded
            && self.begun_seq <= last_seq
            && self.forgotten_seq <= Some(last_seq)
            && self.counts.iter().all(counted)
            && self.moved_after.iter().all(moved)
            && last_counts(&self.counts).as_ref() == Some(&self.last_counts)
        {
            Ok(())
        } else {
            Err("counts or late movements are of what is not there".to_owned())
        }
    }
}
