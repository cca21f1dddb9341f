//! Proves a ledger right from its changes alone, by its own arithmetic.
//!
//! ```text
//!   Change ──> Sequence      nothing lost, repeated, out of order; entries whole; log time never back
//!      └─────> Step          every field understood ([`Check::Malformed`] otherwise)
//!                ├──> movement      each kind moves only what it may, as much as it says
//!                ├──> Cells         after = before + delta; the equation; nothing negative or oversold
//!                ├──> Reservations  one legal life each, units in one place, no early expiry
//!                │      └──> Orders    those over several shards are all or nothing
//!                ├──> Transfers     what left is in transit, and no more arrives than left
//!                ├──> Operations    none takes effect twice
//!                ├──> Ids           none names two things
//!                └──> Returns       no more comes back than was shipped
//! ```
//!
//! A [`Verifier`] takes one shard after the other. [`Verifier::shard`] returns a [`ShardReplay`]. The replay
//! [observes](ShardReplay::observe) changes, may [compare](ShardReplay::compare_live) live cells as of the
//! last change, and is [ended](ShardReplay::end). [`Verifier::finish`] returns the [`Report`].
//!
//! This module does not know how the ledger decides. It knows only what must be true of the changes. Memory
//! holds the cells and the open reservations of one shard. Records that are needed only at the end (operation
//! ids, shipments, returns, the decisions on orders over several shards) wait on disk, in partitions, in
//! temporary files of the folder named by `TMPDIR`.

mod cells;
mod finding;
mod ids;
mod life;
mod movement;
mod operations;
mod orders;
mod report;
mod reservations;
mod returns;
mod sequence;
mod spill;
mod step;
mod transfers;

#[cfg(test)]
mod tests;

use holdfast_api::v1::{self, Change};

use cells::Cells;
use finding::Findings;
use ids::Ids;
use operations::Operations;
use orders::Orders;
use reservations::Reservations;
use returns::Returns;
use sequence::{Placed, Sequence};
use step::Step;
use transfers::Transfers;

pub use finding::{Check, Finding, KEPT_OF_ONE_CHECK};
pub use orders::{OrdersReport, Unsettled};
pub use report::{Report, ShardReport};

/// The temporary files failed, so nothing is known about the ledger.
#[derive(Debug, thiserror::Error)]
#[error("cannot use a temporary file in {}: {source}; set TMPDIR to a folder with space", folder.display())]
pub struct SpillError {
    folder: std::path::PathBuf,
    source: std::io::Error,
}

impl From<std::io::Error> for SpillError {
    fn from(source: std::io::Error) -> Self {
        Self {
            folder: std::env::temp_dir(),
            source,
        }
    }
}

/// The verification of all shards.
#[derive(Debug)]
pub struct Verifier {
    findings: Findings,
    operations: Operations,
    ids: Ids,
    returns: Returns,
    orders: Orders,
    shards: Vec<ShardReport>,
    oversold_units: u64,
    lost_changes: u64,
}

impl Verifier {
    /// Makes a verifier that has verified nothing yet.
    #[allow(
        clippy::new_without_default,
        reason = "a default verifier would have verified nothing and say ok"
    )]
    pub fn new() -> Self {
        Self {
            findings: Findings::default(),
            operations: Operations::new(),
            ids: Ids::new(),
            returns: Returns::new(),
            orders: Orders::new(),
            shards: Vec::new(),
            oversold_units: 0,
            lost_changes: 0,
        }
    }

    /// Begins a shard at its first change.
    pub fn shard(&mut self, shard: u32) -> ShardReplay<'_> {
        ShardReplay {
            verifier: self,
            shard,
            sequence: Sequence::default(),
            cells: Cells::default(),
            reservations: Reservations::default(),
            transfers: Transfers::default(),
            compared_cells: None,
        }
    }

    /// Tolerates orders on their way, for streams that were cut at different moments. An order may still be
    /// on its way when a stream ends less than this time after one of its decisions. It is no finding then.
    /// Without this call every order has to be settled.
    pub fn allow_in_flight(&mut self, log_time_ms: u64) {
        self.orders.in_flight_ms = Some(log_time_ms);
    }

    /// Returns the orders over several shards that are not settled in the replayed changes. They may be on
    /// their way: later changes of them can be [followed](Self::follow). All shards have to be replayed
    /// before.
    ///
    /// # Errors
    /// The temporary files cannot be read.
    pub fn unsettled(&mut self) -> Result<Vec<Unsettled>, SpillError> {
        Ok(self.orders.unsettled()?)
    }

    /// Takes a change of an unsettled order from after the end of the replayed changes. Skips other changes.
    pub fn follow(&mut self, change: &Change) {
        self.orders.follow(change);
    }

    /// Does the checks that need all shards, and returns the report.
    ///
    /// # Errors
    /// The temporary files cannot be read.
    pub fn finish(mut self) -> Result<Report, SpillError> {
        self.operations.finish(&mut self.findings)?;
        self.ids.finish(&mut self.findings)?;
        self.returns.finish(&mut self.findings)?;
        let orders = self.orders.finish(&mut self.findings)?;
        let (findings, counts) = self.findings.into_parts();
        Ok(Report {
            ok: counts.is_empty(),
            changes: self.shards.iter().map(|shard| shard.changes).sum(),
            reservations: self.shards.iter().map(|shard| shard.reservations).sum(),
            orders,
            shards: self.shards,
            oversold_units: self.oversold_units,
            lost_changes: self.lost_changes,
            counts,
            findings,
        })
    }
}

/// The replay of one shard.
#[derive(Debug)]
pub struct ShardReplay<'v> {
    verifier: &'v mut Verifier,
    shard: u32,
    sequence: Sequence,
    cells: Cells,
    reservations: Reservations,
    transfers: Transfers,
    compared_cells: Option<u64>,
}

/// The amount of state that a replay keeps in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retained {
    /// The number of cells.
    pub cells: usize,
    /// The number of reservations that are open at the moment.
    pub open_reservations: usize,
    /// The largest number of reservations that were open at one time.
    pub most_open_reservations: usize,
}

impl ShardReplay<'_> {
    /// Takes the next change.
    ///
    /// # Errors
    /// The temporary files cannot be written. A fault of the change is a finding, not an error.
    pub fn observe(&mut self, change: &Change) -> Result<(), SpillError> {
        let Verifier {
            findings,
            operations,
            ids,
            returns,
            orders,
            ..
        } = &mut *self.verifier;
        let (shard, seq) = (self.shard, change.seq);
        if change.shard != shard {
            findings.add(Check::Malformed, shard, seq, || {
                format!("it is of shard {}", change.shard)
            });
            return Ok(());
        }
        let before = self.sequence.last_seq;
        let Placed::Next { begins, ends } = self.sequence.place(shard, change, findings) else {
            return Ok(());
        };
        if begins {
            self.reservations.end_run(shard, findings);
            self.cells.end_entry(shard, before, findings);
            self.transfers.end_entry(shard, before, findings);
        }
        match Step::of(change) {
            Ok(step) => {
                if let Some(fault) = movement::fault(&step) {
                    findings.add(Check::WrongMovement, shard, seq, || fault);
                }
                let cell = self.cells.key(change);
                self.cells.replay(&step, findings);
                self.reservations.observe(&step, cell, findings);
                self.transfers.observe(&step, cell, findings);
                operations.observe(&step, cell, findings)?;
                ids.observe(&step)?;
                returns.observe(&step, cell)?;
            }
            Err(fault) => findings.add(Check::Malformed, shard, seq, || fault),
        }
        if ends {
            self.reservations.end_run(shard, findings);
            self.cells.end_entry(shard, seq, findings);
            self.transfers.end_entry(shard, seq, findings);
        }
        for decision in self.reservations.take_decisions() {
            orders.observe(&decision)?;
        }
        Ok(())
    }

    /// Returns the last change taken.
    pub fn last_seq(&self) -> u64 {
        self.sequence.last_seq
    }

    /// Sets the last change that the stream must have. A stream that ends before it has lost changes.
    pub fn expect_through(&mut self, last_seq: u64) {
        let replayed = self.sequence.last_seq;
        if replayed < last_seq {
            self.sequence.lost += last_seq - replayed;
            self.verifier.findings.add(Check::Lost, self.shard, last_seq, || {
                format!("the stream ends at change {replayed}, but the shard has {last_seq}")
            });
        }
    }

    /// Compares live cells that were read at a change. It is a finding when the replay is not at exactly that
    /// change. Each cell of the shard comes once, in any order.
    pub fn compare_live(&mut self, at_seq: u64, cells: &[v1::Cell]) {
        let findings = &mut self.verifier.findings;
        if at_seq != self.sequence.last_seq {
            let replayed = self.sequence.last_seq;
            findings.add(Check::LiveStockDiffers, self.shard, at_seq, || {
                format!("the live stock is that of change {at_seq}, but the changes end at {replayed}")
            });
            return;
        }
        for cell in cells {
            self.cells.compare_live(cell, self.shard, at_seq, findings);
        }
    }

    /// Notes that all live cells were compared. Replayed cells beyond them are findings.
    pub fn end_live(&mut self) {
        let findings = &mut self.verifier.findings;
        self.compared_cells = Some(self.cells.end_live(self.shard, self.sequence.last_seq, findings));
    }

    /// Returns the amount of state in memory.
    pub fn retained(&self) -> Retained {
        Retained {
            cells: self.cells.len(),
            open_reservations: self.reservations.open(),
            most_open_reservations: self.reservations.most_open,
        }
    }

    /// Ends the shard after its last change.
    ///
    /// # Errors
    /// The temporary files cannot be written.
    pub fn end(mut self) -> Result<(), SpillError> {
        let findings = &mut self.verifier.findings;
        self.reservations.end_run(self.shard, findings);
        for decision in self.reservations.take_decisions() {
            self.verifier.orders.observe(&decision)?;
        }
        let end = (self.sequence.last_seq, self.sequence.log_time_ms());
        self.verifier.orders.ends.insert(self.shard, end);
        self.cells.end_entry(self.shard, self.sequence.last_seq, findings);
        self.transfers
            .end_entry(self.shard, self.sequence.last_seq, findings);
        self.sequence.end(self.shard, findings);
        self.cells
            .compare_promises(self.reservations.promised(), self.shard, findings);
        self.cells
            .compare_in_transit(self.transfers.in_transit(), self.shard, findings);
        self.verifier.oversold_units += self.cells.oversold();
        self.verifier.lost_changes += self.sequence.lost;
        self.verifier.shards.push(ShardReport {
            shard: self.shard,
            last_seq: self.sequence.last_seq,
            changes: self.sequence.changes,
            entries: self.sequence.entries,
            log_time_ms: self.sequence.log_time_ms(),
            cells: self.cells.len() as u64,
            reservations: self.reservations.granted,
            open_reservations: self.reservations.open() as u64,
            compared_cells: self.compared_cells,
        });
        Ok(())
    }
}
