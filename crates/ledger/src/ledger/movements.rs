//! The recent movements of `on_hand`. A count as of a change applies the later movements again.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{cell_key::CellKey, late::Late};
use crate::limits::KEPT_MOVEMENTS;

/// Movements in order of their changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Movements {
    recent: VecDeque<Movement>,
    /// The change of the last movement that was dropped. 0 when none was. It is the oldest position that a
    /// count may name.
    dropped_seq: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Movement {
    seq: u64,
    cell: CellKey,
    delta: i64,
}

impl Movements {
    pub(crate) fn push(&mut self, seq: u64, cell: CellKey, delta: i64) {
        if self.recent.len() == KEPT_MOVEMENTS
            && let Some(oldest) = self.recent.pop_front()
        {
            self.dropped_seq = oldest.seq;
        }
        self.recent.push_back(Movement { seq, cell, delta });
    }

    pub(crate) fn oldest_seq(&self) -> u64 {
        self.dropped_seq
    }

    /// Returns the net units that came into a cell after a change. `after_seq` is at least
    /// [`Self::oldest_seq`]. Movements that were booked after it, but whose goods had moved before, do not
    /// count.
    pub(crate) fn since(&self, after_seq: u64, cell: CellKey, late: &Late) -> i128 {
        let first = self.recent.partition_point(|movement| movement.seq <= after_seq);
        let later = self
            .recent
            .range(first..)
            .filter(|movement| movement.cell == cell && late.moved_after(movement.seq) > after_seq);
        later.map(|movement| i128::from(movement.delta)).sum()
    }

    pub(crate) fn check(&self, last_seq: u64, known: impl Fn(CellKey) -> bool) -> Result<(), String> {
        let ordered = self.recent.iter().is_sorted_by(|a, b| a.seq < b.seq);
        let within = self
            .recent
            .front()
            .is_none_or(|first| first.seq > self.dropped_seq)
            && self.recent.back().map_or(self.dropped_seq, |last| last.seq) <= last_seq;
        if !ordered || !within || self.recent.len() > KEPT_MOVEMENTS {
            return Err("the recent movements are out of order".to_owned());
        }
        match self
            .recent
            .iter()
            .find(|movement| movement.delta == 0 || !known(movement.cell))
        {
            Some(movement) => Err(format!("a movement of nothing or nowhere: {movement:?}")),
            None => Ok(()),
        }
    }
}
