//! Input of the ledger: a [`Catalogue`] with stock, and a log made by [`reserve_and_commit`].

use holdfast_ledger::{
    Action, CallerReason, Command, Details, Entry, Ledger, LedgerOptions, OperationId, Principal, Reference,
    ReserveLine, ReserveMode, Sku, Source, Sourcing, StorefrontId, WarehouseId,
};

/// Log time at which the benchmarks' logs begin, in milliseconds since the Unix epoch.
const START_MS: u64 = 1_800_000_000_000;
/// Commands of an entry that stocks the catalogue.
const STOCKING_COMMANDS: usize = 1024;

/// Warehouses of each SKU.
pub const WAREHOUSES: usize = 5;
/// Stock of each cell: more than any benchmark takes.
const STOCK: i64 = 1_000_000_000;

/// A catalogue: SKUs in five warehouses each, with more stock than any benchmark takes.
pub struct Catalogue {
    skus: Vec<Sku>,
    warehouses: Vec<WarehouseId>,
}

impl Catalogue {
    /// Makes a catalogue of this many SKUs.
    ///
    /// # Panics
    /// Never: the names are well-formed.
    pub fn new(skus: usize) -> Self {
        Self {
            skus: (0..skus).map(sku).collect(),
            warehouses: warehouses(),
        }
    }

    /// Returns a ledger that has all of it in stock.
    ///
    /// # Panics
    /// When the ledger finds itself unsound.
    pub fn stocked(&self) -> Ledger {
        let mut ledger = Ledger::new(LedgerOptions::default());
        for (index, entry) in (1..).zip(stocking(self.skus.len() * WAREHOUSES, 0)) {
            ledger.apply(index, &entry).expect("a sound ledger");
        }
        ledger
    }

    /// Returns the first log index after stocking.
    pub fn next_index(&self) -> u64 {
        let arrivals = self.skus.len() * self.warehouses.len();
        arrivals.div_ceil(STOCKING_COMMANDS) as u64 + 1
    }
}

fn sku(number: usize) -> Sku {
    Sku::new(format!("sku-{number:08}")).expect("a well-formed name")
}

fn warehouses() -> Vec<WarehouseId> {
    let warehouse = |number| WarehouseId::new(format!("wh-{number}")).expect("a well-formed name");
    (0..WAREHOUSES).map(warehouse).collect()
}

/// Returns the entries that stock this many cells: five for each SKU, with names of twelve characters.
/// `entry_ms` of log time pass with each entry. An entry is made when it is asked for, so the log itself
/// holds no memory.
///
/// # Panics
/// Never: the names are well-formed.
pub fn stocking(cells: usize, entry_ms: u64) -> impl Iterator<Item = Entry> {
    let warehouses = warehouses();
    let receive = move |cell: usize, log_time_ms: u64| {
        let action = Action::Receive {
            sku: sku(cell / WAREHOUSES),
            warehouse: warehouses[cell % WAREHOUSES].clone(),
            quantity: STOCK,
            supply_id: None,
        };
        command(log_time_ms, cell as u64, action)
    };
    let starts = (0..cells).step_by(STOCKING_COMMANDS);
    starts.zip(0..).map(move |(first, entry)| {
        let log_time_ms = START_MS + entry * entry_ms;
        let cells = first..cells.min(first + STOCKING_COMMANDS);
        Entry {
            log_time_ms,
            commands: cells.map(|cell| receive(cell, log_time_ms)).collect(),
        }
    })
}

/// Returns a log in which each reservation of two units, from any warehouse, is committed one entry later.
/// SKUs are visited in an order that no cache foresees. Logs of different parts, up to 2^22 of them, have
/// different ids.
///
/// # Panics
/// Never: the names are well-formed.
pub fn reserve_and_commit(
    catalogue: &Catalogue,
    part: u64,
    entries: usize,
    entry_commands: usize,
) -> Vec<Entry> {
    let storefront = StorefrontId::new("web").expect("a well-formed name");
    let mut number = (part + 1) << 40;
    let mut reserved: Vec<OperationId> = Vec::new();
    let mut log = Vec::with_capacity(entries);
    for _ in 0..entries {
        let commands: Vec<Command> = if reserved.is_empty() {
            let reserve = |_| {
                number += 1;
                let sku = catalogue.skus
                    [(number.wrapping_mul(2_654_435_761) % catalogue.skus.len() as u64) as usize]
                    .clone();
                let lines = vec![ReserveLine {
                    sku,
                    quantity: 2,
                    source: Source::Any,
                }];
                let (storefront, mode) = (storefront.clone(), ReserveMode::AllOrNothing);
                command(
                    START_MS,
                    number,
                    Action::Reserve {
                        storefront,
                        lines,
                        ttl_ms: 600_000,
                        mode,
                        sourcing: Sourcing::AsGiven,
                    },
                )
            };
            let commands: Vec<Command> = (0..entry_commands).map(reserve).collect();
            reserved.extend(commands.iter().map(|command| command.operation_id));
            commands
        } else {
            let commit = |reservation_id| {
                number += 1;
                command(START_MS, number, Action::Commit { reservation_id })
            };
            reserved.drain(..).map(commit).collect()
        };
        log.push(Entry {
            log_time_ms: START_MS,
            commands,
        });
    }
    log
}

/// Makes a command of this time. The number distinguishes it from others of the same millisecond.
fn command(time_ms: u64, number: u64, action: Action) -> Command {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(time_ms << 16 | 0x7000).to_be_bytes());
    bytes[8..].copy_from_slice(&(number | 1 << 63).to_be_bytes());
    Command {
        operation_id: OperationId::from_slice(&bytes).expect("a UUID of version 7"),
        principal: Principal::new("benchmark").expect("a well-formed name"),
        reference: Reference::new("order-1").expect("a well-formed name"),
        reason: CallerReason::default(),
        details: Details::default(),
        action,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_stocked_once() {
        let entries: Vec<Entry> = stocking(2_503, 1_000).collect();
        let sizes: Vec<usize> = entries.iter().map(|entry| entry.commands.len()).collect();
        assert_eq!(sizes, [1024, 1024, 455]);

        let mut ledger = Ledger::new(LedgerOptions::default());
        for (index, entry) in (1..).zip(&entries) {
            ledger.apply(index, entry).unwrap();
        }
        assert_eq!(ledger.cell_count(), 2_503);
        assert_eq!(ledger.log_time_ms(), START_MS + 2_000);
    }

    #[test]
    fn what_is_reserved_is_committed() {
        let catalogue = Catalogue::new(10);
        let mut ledger = catalogue.stocked();
        for (index, entry) in (catalogue.next_index()..).zip(reserve_and_commit(&catalogue, 0, 4, 8)) {
            let applied = ledger.apply(index, &entry).unwrap();
            assert!(applied.outcomes.iter().all(Result::is_ok));
        }
        assert_eq!(ledger.live_reservation_count(), 16);
    }
}
