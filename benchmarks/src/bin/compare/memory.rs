//! The resident memory of a ledger's cell, without live reservations.
//!
//! It is measured in separate processes, so that nothing else affects the figures. Memory that was freed in
//! small pieces stays with the process. So a ledger that got its catalogue at once keeps the room for all the
//! operation ids of that load for ever, even when it has forgotten them. That is why the figure without
//! operation ids is that of a catalogue that grew slowly: the ids of each hour are forgotten a day later, as
//! in the years of a shop.

use anyhow::{Context as _, Result, ensure};
use holdfast_benchmarks::ledger_input::{Catalogue, WAREHOUSES, reserve_and_commit, stocking};
use holdfast_ledger::{Entry, Ledger, LedgerOptions};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::usage::resident_bytes;

/// Log time between two entries of a catalogue that grows slowly, in milliseconds.
const SLOWLY_MS: u64 = 3_600_000;

/// Reservations of an entry. The next entry commits them.
const RESERVATIONS_PER_ENTRY: usize = 1000;

/// Resident bytes, for each cell unless a field says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BytesEach {
    /// Bytes when all operation ids of the load are forgotten.
    pub(crate) stock_alone: f64,
    /// Bytes when no operation id is forgotten.
    pub(crate) with_operation_ids: f64,
    /// Bytes for each committed reservation of one line, with its two operation ids.
    pub(crate) reservation: f64,
}

/// The output of a measuring process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    cells: u64,
    /// Resident bytes before there was a ledger.
    empty_bytes: u64,
    /// Resident bytes when all cells were there.
    loaded_bytes: u64,
    /// Reservations that were committed after that. `reserved_bytes` was resident then.
    reservations: u64,
    reserved_bytes: u64,
    /// Resident bytes when all operation ids were forgotten, too.
    forgotten_bytes: u64,
}

impl Memory {
    fn each(&self, bytes: u64) -> f64 {
        bytes.saturating_sub(self.empty_bytes) as f64 / self.cells as f64
    }

    fn reservation(&self) -> f64 {
        self.reserved_bytes.saturating_sub(self.loaded_bytes) as f64 / self.reservations as f64
    }
}

/// Measures the memory in other processes.
pub(crate) async fn measure(cells: usize) -> Result<BytesEach> {
    let slowly = measure_elsewhere(cells, SLOWLY_MS).await?;
    let at_once = measure_elsewhere(cells, 0).await?;
    Ok(BytesEach {
        stock_alone: slowly.each(slowly.forgotten_bytes),
        with_operation_ids: at_once.each(at_once.loaded_bytes),
        reservation: at_once.reservation(),
    })
}

async fn measure_elsewhere(cells: usize, entry_ms: u64) -> Result<Memory> {
    let mut other = Command::new(std::env::current_exe()?);
    other.args(["measure-memory", "--cells", &cells.to_string()]);
    other.args(["--entry-ms", &entry_ms.to_string()]);
    let output = other.kill_on_drop(true).output().await?;
    ensure!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("what the measuring process printed")
}

/// Measures the memory of this process and prints it.
#[allow(clippy::print_stdout, reason = "the parent reads it")]
pub(crate) fn print(cells: usize, entry_ms: u64) -> Result<()> {
    println!("{}", serde_json::to_string(&fill(cells, entry_ms)?)?);
    Ok(())
}

fn fill(cells: usize, entry_ms: u64) -> Result<Memory> {
    let me = std::process::id();
    let catalogue = Catalogue::new(cells / WAREHOUSES);
    let empty_bytes = resident_bytes(me)?;
    let mut ledger = Ledger::new(LedgerOptions::default());
    let mut index = 0;
    for entry in stocking(cells, entry_ms) {
        index += 1;
        let applied = ledger.apply(index, &entry)?;
        ensure!(
            applied.outcomes.iter().all(Result::is_ok),
            "an arrival was refused"
        );
    }
    let loaded_bytes = resident_bytes(me)?;
    // After slow growth, log time is so late that the ids of this log are too old.
    let reservations = if entry_ms == 0 { cells } else { 0 };
    for part in 0..(reservations / RESERVATIONS_PER_ENTRY) as u64 {
        for entry in reserve_and_commit(&catalogue, part, 2, RESERVATIONS_PER_ENTRY) {
            index += 1;
            let applied = ledger.apply(index, &entry)?;
            ensure!(
                applied.outcomes.iter().all(Result::is_ok),
                "a reservation was refused"
            );
        }
    }
    let reservations = ledger.live_reservation_count();
    let reserved_bytes = resident_bytes(me)?;
    // Let the window of the last operation ids pass.
    while let Some(log_time_ms) = ledger.next_due_ms() {
        index += 1;
        let nothing = Entry {
            log_time_ms,
            commands: Vec::new(),
        };
        ledger.apply(index, &nothing)?;
    }
    Ok(Memory {
        cells: ledger.cell_count(),
        empty_bytes,
        loaded_bytes,
        reservations,
        reserved_bytes,
        forgotten_bytes: resident_bytes(me)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_from_before_the_ledger() {
        let memory = Memory {
            cells: 10,
            empty_bytes: 1_000,
            loaded_bytes: 2_000,
            reservations: 4,
            reserved_bytes: 2_600,
            forgotten_bytes: 1_500,
        };
        assert_eq!(memory.each(memory.loaded_bytes), 100.0);
        assert_eq!(memory.each(memory.forgotten_bytes), 50.0);
        assert_eq!(memory.reservation(), 150.0);
    }

    #[test]
    fn every_cell_is_there_at_the_end_however_fast_it_came() {
        for entry_ms in [0, SLOWLY_MS] {
            let memory = fill(50_000, entry_ms).unwrap();
            assert_eq!(memory.cells, 50_000);
            // The number of resident bytes depends on the other tests of this process too, so it is not
            // checked.
            assert_eq!(memory.reservations > 0, entry_ms == 0);
        }
    }
}
