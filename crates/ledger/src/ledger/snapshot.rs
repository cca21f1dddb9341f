//! Snapshots: the whole state as one version byte, then postcard.
//!
//! The bytes are canonical: one state has exactly one encoding, and decoding refuses every other. Queues,
//! ranks and counts are not in it, because they follow from the rest. A ledger of the first rules is written
//! as the first release wrote it, so that release can read it. The second and the third rules have a version
//! of their own each, with the rules in front of the rest, and the newer state behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use postcard::ser_flavors::{ExtendFlavor, Flavor};
use serde::{Deserialize, Serialize};

use crate::{
    CodecError, LedgerOptions, Reference, ReservationId, Rules, Sku, StorefrontId, TransferId, WarehouseId,
    codec,
};

use super::{
    Ledger,
    cell_key::CellKey,
    cells::Cells,
    chunked_vec::ChunkedVec,
    consumers::Consumers,
    late::Late,
    movements::Movements,
    names::{SkuNames, SmallNames},
    operations::Operations,
    orders::{Order, Orders},
    packed_reservation::PackedReservation,
    policies::Policies,
    references::References,
    replacing::Replacement,
    reservations::Reservations,
    sorted_map::SortedMap,
    stock::Stock,
    supplies::Supplies,
    transfers::{Transfer, Transfers},
};

/// The version of snapshots by the second rules. They begin with the rules.
const WITH_RULES: u8 = 3;

/// The version of snapshots by the third rules. They end with the consumers.
const WITH_CONSUMERS: u8 = 4;

#[derive(Serialize)]
struct Snapshot<'a> {
    options: &'a LedgerOptions,
    log_index: Option<u64>,
    log_time_ms: u64,
    last_seq: u64,
    skus: Vec<&'a Sku>,
    warehouses: Vec<&'a WarehouseId>,
    storefronts: Vec<&'a StorefrontId>,
    cells: &'a ChunkedVec<Cells>,
    movements: &'a Movements,
    policies: &'a Policies,
    reservations: &'a SortedMap<ReservationId, PackedReservation>,
    orders: &'a SortedMap<ReservationId, Arc<Order>>,
    operations: &'a Operations,
    supplies: &'a Supplies,
    transfers: &'a BTreeMap<TransferId, Transfer>,
}

/// The same fields as in the written snapshot, in the same order.
#[derive(Deserialize)]
struct OwnedSnapshot {
    options: LedgerOptions,
    log_index: Option<u64>,
    log_time_ms: u64,
    last_seq: u64,
    skus: Vec<Sku>,
    warehouses: Vec<WarehouseId>,
    storefronts: Vec<StorefrontId>,
    cells: ChunkedVec<Cells>,
    movements: Movements,
    policies: Policies,
    reservations: SortedMap<ReservationId, PackedReservation>,
    orders: SortedMap<ReservationId, Arc<Order>>,
    operations: Operations,
    supplies: Supplies,
    transfers: BTreeMap<TransferId, Transfer>,
}

/// The state that a ledger keeps since the second rules.
#[derive(Serialize)]
struct SinceSecond<'a> {
    late: &'a Late,
    references: &'a BTreeMap<(StorefrontId, Reference), ReservationId>,
    replacements: &'a BTreeMap<ReservationId, Replacement>,
}

/// The same fields as in `SinceSecond`, in the same order.
#[derive(Default, Deserialize)]
struct OwnedSinceSecond {
    late: Late,
    references: BTreeMap<(StorefrontId, Reference), ReservationId>,
    replacements: BTreeMap<ReservationId, Replacement>,
}

impl Ledger {
    fn since_second(&self) -> SinceSecond<'_> {
        SinceSecond {
            late: &self.stock.late,
            references: self.references.by_document(),
            replacements: &self.replacements,
        }
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            options: &self.options,
            log_index: self.log_index,
            log_time_ms: self.log_time_ms,
            last_seq: self.stock.last_seq,
            skus: self.stock.skus.iter().collect(),
            warehouses: self.stock.warehouses.iter().collect(),
            storefronts: self.stock.storefronts.iter().collect(),
            cells: &self.stock.cells,
            movements: &self.stock.movements,
            policies: &self.policies,
            reservations: self.reservations.map(),
            orders: self.orders.map(),
            operations: &self.operations,
            supplies: &self.supplies,
            transfers: self.transfers.map(),
        }
    }

    /// Returns the version of this ledger's snapshot, and the rules if they are written.
    fn snapshot_head(&self) -> (u8, Option<Rules>) {
        match self.rules {
            Rules::First => (codec::VERSION, None),
            Rules::Second => (WITH_RULES, Some(Rules::Second)),
            Rules::Third => (WITH_CONSUMERS, Some(Rules::Third)),
        }
    }

    /// Writes everything after the version.
    fn write_body<F: Flavor>(&self, flavor: F) -> postcard::Result<F::Output> {
        match self.snapshot_head().1 {
            None => postcard::serialize_with_flavor(&self.snapshot(), flavor),
            Some(rules @ (Rules::First | Rules::Second)) => {
                postcard::serialize_with_flavor(&(rules, self.snapshot(), self.since_second()), flavor)
            }
            Some(rules @ Rules::Third) => {
                let body = (rules, self.snapshot(), self.since_second(), &self.consumers);
                postcard::serialize_with_flavor(&body, flavor)
            }
        }
    }

    /// Returns the versioned, canonical snapshot.
    pub fn encode(&self) -> Vec<u8> {
        let begun = ExtendFlavor::new(vec![self.snapshot_head().0]);
        self.write_body(begun).expect("memory takes whatever is written")
    }

    /// Returns the BLAKE3 of the snapshot's bytes, without holding them in memory. Equal on replicas that
    /// applied the same entries.
    pub fn digest(&self) -> [u8; 32] {
        let hashing = Hashing {
            hasher: blake3::Hasher::new(),
            waiting: vec![self.snapshot_head().0],
        };
        self.write_body(hashing)
            .expect("a hasher takes whatever is written")
    }

    /// Reads a snapshot of any supported version and checks every invariant.
    ///
    /// # Errors
    /// Describes the fault in the bytes, or the invariant that does not hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let (rules, snapshot, since_second, consumers) = read(bytes).map_err(|error| error.to_string())?;
        let twice = |what: &str| format!("snapshot: {what} too many, or one of them twice");
        let stock = Stock {
            cell_count: snapshot.cells.iter().map(|cells| cells.len() as u64).sum(),
            skus: Arc::new(SkuNames::from_snapshot(snapshot.skus).ok_or_else(|| twice("SKUs"))?),
            warehouses: SmallNames::from_snapshot(snapshot.warehouses).ok_or_else(|| twice("warehouses"))?,
            storefronts: SmallNames::from_snapshot(snapshot.storefronts)
                .ok_or_else(|| twice("storefronts"))?,
            deficits: deficits(&snapshot.cells),
            deficit_units: deficit_units(&snapshot.cells),
            cells: snapshot.cells,
            movements: snapshot.movements,
            late: since_second
                .late
                .with_last_counts()
                .ok_or("snapshot: a count was booked after a later one")?,
            last_seq: snapshot.last_seq,
            ..Stock::new(rules)
        };
        let ledger = Self {
            reservations: Reservations::from_snapshot(snapshot.reservations, &snapshot.options),
            orders: Orders::from_snapshot(snapshot.orders, &snapshot.options),
            transfers: Transfers::from_snapshot(snapshot.transfers, &snapshot.options),
            options: snapshot.options,
            rules,
            log_index: snapshot.log_index,
            log_time_ms: snapshot.log_time_ms,
            stock,
            policies: Arc::new(snapshot.policies),
            operations: snapshot.operations,
            supplies: snapshot.supplies,
            references: References::from_snapshot(since_second.references)
                .ok_or("snapshot: one hold has two references to itself")?,
            replacements: since_second.replacements,
            consumers,
        };
        ledger
            .check()
            .map_err(|violation| format!("snapshot: {violation}"))?;
        let comparing = Comparing {
            rest: bytes.get(1..).unwrap_or_default(),
        };
        match ledger.write_body(comparing) {
            Ok(true) => Ok(ledger),
            _ => Err("snapshot: not in the one form that is written".to_owned()),
        }
    }
}

/// Reads all layouts.
fn read(bytes: &[u8]) -> Result<(Rules, OwnedSnapshot, OwnedSinceSecond, Consumers), CodecError> {
    const WHAT: &str = "snapshot";
    let (expected, read) = match bytes.first() {
        Some(&WITH_RULES) => {
            let (rules, snapshot, since_second) = codec::decode_version(WHAT, WITH_RULES, bytes)?;
            let read = (rules, snapshot, since_second, Consumers::default());
            (Rules::Second, read)
        }
        Some(&WITH_CONSUMERS) => (Rules::Third, codec::decode_version(WHAT, WITH_CONSUMERS, bytes)?),
        _ => {
            let (since_second, consumers) = Default::default();
            let read = (Rules::First, codec::decode(WHAT, bytes)?, since_second, consumers);
            (Rules::First, read)
        }
    };
    match read.0 == expected {
        true => Ok(read),
        false => Err(CodecError::Malformed {
            what: WHAT,
            message: format!(
                "the layout is that of rules {}, and it names rules {}",
                expected.number(),
                read.0.number()
            ),
        }),
    }
}

/// Returns the cells that have a deficit.
pub(crate) fn deficits(cells: &ChunkedVec<Cells>) -> BTreeSet<CellKey> {
    let of_sku = |(sku, cells): (usize, &Cells)| {
        let short = cells.iter().filter(|cell| cell.deficit > 0);
        let key = |cell: super::cell::Cell| CellKey {
            sku: sku as u32,
            warehouse: cell.warehouse,
        };
        short.map(key).collect::<Vec<_>>()
    };
    cells.iter().enumerate().flat_map(of_sku).collect()
}

/// Returns the number of units that all cells lack together.
pub(crate) fn deficit_units(cells: &ChunkedVec<Cells>) -> i128 {
    let units = |cells: &Cells| cells.iter().map(|cell| i128::from(cell.deficit)).sum::<i128>();
    cells.iter().map(units).sum()
}

/// Feeds a hasher in large pieces.
struct Hashing {
    hasher: blake3::Hasher,
    waiting: Vec<u8>,
}

const PIECE_BYTES: usize = 64 * 1024;

impl Hashing {
    fn flush_if_full(&mut self) {
        if self.waiting.len() >= PIECE_BYTES {
            self.hasher.update(&self.waiting);
            self.waiting.clear();
        }
    }
}

impl Flavor for Hashing {
    type Output = [u8; 32];

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.waiting.push(byte);
        self.flush_if_full();
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.waiting.extend_from_slice(bytes);
        self.flush_if_full();
        Ok(())
    }

    fn finalize(mut self) -> postcard::Result<[u8; 32]> {
        self.hasher.update(&self.waiting);
        Ok(self.hasher.finalize().into())
    }
}

/// Compares written bytes with existing ones, and fails at the first difference.
struct Comparing<'a> {
    rest: &'a [u8],
}

impl Flavor for Comparing<'_> {
    /// Whether all existing bytes were compared.
    type Output = bool;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.rest = self
            .rest
            .strip_prefix(bytes)
            .ok_or(postcard::Error::SerializeBufferFull)?;
        Ok(())
    }

    fn finalize(self) -> postcard::Result<bool> {
        Ok(self.rest.is_empty())
    }
}
