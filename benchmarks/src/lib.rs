//! Benchmarks: how fast Holdfast is beside what a user would pick instead, and how fast its parts are by themselves.
//!
//! Whole systems are compared in one run on one machine, so that the ratios mean something where absolute times do not. A
//! part is measured without the others, so that a change of its speed is seen where it was made.
//!
//! # The parts
//! - `benches/ledger_apply.rs`: [`holdfast_ledger::Ledger::apply`] on one core, with entries that reserve and commit, on one
//!   hot SKU and on 100,000. Criterion prints commands per second as `thrpt` (elements per second). The goal of the design
//!   is 2 million.
//! - `src/bin/order_latency.rs`: orders of five lines over five shards beside single-shard ones, on three real nodes. The goal of
//!   the design is at most 2.5 times the latency.
//! - `src/bin/compare/`: three Holdfast nodes, PostgreSQL, Redis, and the floor beneath them all (a gRPC echo, a data
//!   sync), under the same workloads and numbers of callers; `cargo xtask bench` installs what it needs and runs it.
//! - [`nodes`] starts the Holdfast nodes of both.
//! - This library makes the ledger's input: a [`Catalogue`] with stock, and a log made by [`reserve_and_commit`]. The same numbers
//!   give the same log, so two runs are comparable.
//!
//! # How to run
//! `cargo bench -p holdfast-benchmarks`; with `-- hot` or `-- spread` only one of them. Absolute times on a small
//! shared machine are noisy: compare with a run of the version before, made right before, on the same machine.
//!
//! # Where to start reading
//! [`reserve_and_commit`] says what is measured; the bench file is the loop around it.

pub mod nodes;

use holdfast_ledger::{
    Action, Command, Entry, Ledger, LedgerOptions, OperationId, Principal, Reason, Reference, ReserveLine,
    ReserveMode, Sku, Source, Sourcing, StorefrontId, WarehouseId,
};

/// When the benchmarks' logs begin: milliseconds since the Unix epoch.
const START_MS: u64 = 1_800_000_000_000;
/// Commands of an entry that stocks the catalogue.
const STOCKING_COMMANDS: usize = 1024;

/// SKUs in five warehouses each, with more stock than any benchmark takes.
pub struct Catalogue {
    skus: Vec<Sku>,
    warehouses: Vec<WarehouseId>,
}

impl Catalogue {
    /// A catalogue of this many SKUs.
    ///
    /// # Panics
    /// Never: the names are well-formed.
    pub fn new(skus: usize) -> Self {
        let sku = |number| Sku::new(format!("sku-{number:08}")).expect("a well-formed name");
        let warehouse = |number| WarehouseId::new(format!("wh-{number}")).expect("a well-formed name");
        Self {
            skus: (0..skus).map(sku).collect(),
            warehouses: (0..5).map(warehouse).collect(),
        }
    }

    /// A ledger that has it all in stock.
    ///
    /// # Panics
    /// When the ledger finds itself unsound.
    pub fn stocked(&self) -> Ledger {
        let mut ledger = Ledger::new(LedgerOptions::default());
        for (index, commands) in (1..).zip(self.receipts().chunks(STOCKING_COMMANDS)) {
            let entry = Entry {
                log_time_ms: START_MS,
                commands: commands.to_vec(),
            };
            ledger.apply(index, &entry).expect("a sound ledger");
        }
        ledger
    }

    /// The first log index after stocking.
    pub fn next_index(&self) -> u64 {
        let receipts = self.skus.len() * self.warehouses.len();
        receipts.div_ceil(STOCKING_COMMANDS) as u64 + 1
    }

    fn receipts(&self) -> Vec<Command> {
        let cells = self
            .skus
            .iter()
            .flat_map(|sku| self.warehouses.iter().map(move |at| (sku, at)));
        let receive = |(number, (sku, at)): (usize, (&Sku, &WarehouseId))| {
            let (sku, warehouse) = (sku.clone(), at.clone());
            command(
                number as u64,
                Action::Receive {
                    sku,
                    warehouse,
                    quantity: 1_000_000_000,
                    supply_id: None,
                },
            )
        };
        cells.enumerate().map(receive).collect()
    }
}

/// A log in which each reservation of two units, from any warehouse, is committed one entry later. SKUs are visited in an
/// order that no cache foresees.
///
/// # Panics
/// Never: the names are well-formed.
pub fn reserve_and_commit(catalogue: &Catalogue, entries: usize, entry_commands: usize) -> Vec<Entry> {
    let storefront = StorefrontId::new("web").expect("a well-formed name");
    let mut number = 1_u64 << 40;
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
                command(number, Action::Commit { reservation_id })
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

fn command(number: u64, action: Action) -> Command {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&(START_MS << 16 | 0x7000).to_be_bytes());
    bytes[8..].copy_from_slice(&(number | 1 << 63).to_be_bytes());
    Command {
        operation_id: OperationId::from_slice(&bytes).expect("a UUID of version 7"),
        principal: Principal::new("benchmark").expect("a well-formed name"),
        reference: Reference::new("order-1").expect("a well-formed name"),
        reason: Reason::default(),
        action,
    }
}
