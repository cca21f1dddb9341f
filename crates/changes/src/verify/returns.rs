//! Checks that no more comes back than was shipped. Returns can come months after a reservation was closed.
//! So the shipments and returns of reservations wait on disk and are added up at the end.

use holdfast_api::v1::{ChangeKind, ReservationState};

use super::cells::CellKey;
use super::finding::{Check, Findings};
use super::operations::number;
use super::spill::Spill;
use super::step::Step;

/// The size of the key: shard and reservation.
const KEY: usize = 4 + 16;
/// The size of a record: the key, the change, the line, the cell's SKU and warehouse, the units, and one byte
/// of [`Flag`].
const RECORD: usize = KEY + 8 + 4 + 4 + 4 + 8 + 1;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    Shipped,
    Returned,
    /// Units were returned, and the change reports the whole reservation as `returned`.
    ReturnedWhole,
}

#[derive(Debug)]
pub(super) struct Returns {
    moves: Spill<KEY, RECORD>,
}

impl Returns {
    pub(super) fn new() -> Self {
        Self { moves: Spill::new() }
    }

    pub(super) fn observe(&mut self, step: &Step<'_>, cell: CellKey) -> std::io::Result<()> {
        let Some(effect) = step.reservation else {
            return Ok(());
        };
        let flag = match (step.kind, effect.state) {
            (ChangeKind::Shipped, _) => Flag::Shipped,
            (ChangeKind::Returned, ReservationState::Returned) => Flag::ReturnedWhole,
            (ChangeKind::Returned, _) => Flag::Returned,
            _ => return Ok(()),
        };
        let mut record = Vec::with_capacity(RECORD);
        record.extend(step.change.shard.to_be_bytes());
        record.extend(effect.id);
        record.extend(step.change.seq.to_be_bytes());
        record.extend(effect.line.to_be_bytes());
        record.extend(cell.0.to_be_bytes());
        record.extend(cell.1.to_be_bytes());
        record.extend(effect.quantity.to_be_bytes());
        record.push(flag as u8);
        match record.try_into() {
            Ok(record) => self.moves.push(&record),
            Err(_) => Err(std::io::Error::other("a record has the wrong size")),
        }
    }

    /// Adds up the records that were kept on disk.
    pub(super) fn finish(self, findings: &mut Findings) -> std::io::Result<()> {
        self.moves.drain(|records| {
            for moves in records.chunk_by(|a, b| a[..KEY] == b[..KEY]) {
                check(moves, findings);
            }
        })
    }
}

/// Checks the shipments and returns of one reservation, in order.
fn check(moves: &[[u8; RECORD]], findings: &mut Findings) {
    let shard = number(&moves[0][..4]) as u32;
    let id = || uuid::Uuid::from_slice(&moves[0][4..KEY]).unwrap_or_default();
    // The units that are out and not back, by line and cell.
    let mut out: Vec<(&[u8], i128)> = Vec::new();
    let mut last = (0, Flag::Shipped);
    for record in moves {
        let seq = number(&record[KEY..KEY + 8]);
        let (place, rest) = record[KEY + 8..].split_at(12);
        let units = i128::from(number(&rest[..8]) as i64);
        let flag = match rest[8] {
            0 => Flag::Shipped,
            1 => Flag::Returned,
            _ => Flag::ReturnedWhole,
        };
        last = (seq, flag);
        let at = match out.iter().position(|(other, _)| *other == place) {
            Some(at) => at,
            None => {
                out.push((place, 0));
                out.len() - 1
            }
        };
        if flag == Flag::Shipped {
            out[at].1 += units;
            continue;
        }
        out[at].1 -= units;
        if out[at].1 < 0 {
            findings.add(Check::ReturnedTooMuch, shard, seq, || {
                let (line, missing) = (number(&place[..4]), -out[at].1);
                format!(
                    "line {line} of reservation {}: {missing} units came back that never shipped",
                    id()
                )
            });
            out[at].1 = 0;
        }
    }
    let (seq, flag) = last;
    let still_out: i128 = out.iter().map(|(_, units)| *units).sum();
    if flag == Flag::ReturnedWhole && still_out != 0 {
        findings.add(Check::WrongState, shard, seq, || {
            format!(
                "the changes say that reservation {} is returned, but {still_out} units are still out",
                id()
            )
        });
    }
}
