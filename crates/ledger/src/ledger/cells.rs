//! All cells of one SKU, packed. Most of a cell's numbers are 0 or small, and there are hundreds of millions
//! of cells.
//!
//! A cell takes 16 or 24 bytes instead of 168, so more of the stock fits in the processor's caches too. The
//! layout is private to this process: a snapshot holds whole cells.
//!
//! A record is a head (the mask of the 16 numbers that are not 0, the warehouse, the length), then those
//! numbers as LEB128, then the pools if there are any, then zeros up to a multiple of 8 bytes. So the record
//! mostly stays in its place when a number grows or shrinks by a byte.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

use super::{
    cell::{Cell, Flows, Pool},
    varint::{Record, read, write},
};

/// The alignment of every record, in bytes.
const ALIGNMENT: usize = 8;
/// The size of the head: mask, warehouse, and the length in words of [`ALIGNMENT`] bytes.
const HEAD_BYTES: usize = 5;
/// The bit of the length that says that there are pools.
const WITH_POOLS: u8 = 0x80;
/// The length that says that the real one follows in 4 bytes.
const LONG: u8 = 0x7f;
/// A packed list of cells in the order that the ledger keeps: by name of warehouse.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Cells(Box<[u8]>);

impl Cells {
    pub(crate) fn len(&self) -> usize {
        self.records().count()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Cell> + '_ {
        self.records().map(|(_, record)| unpack(record))
    }

    /// Calls `value` for the warehouse of each cell. Returns the cells for which it returned something, each
    /// with that value.
    pub(crate) fn select<T>(&self, value: impl Fn(u16) -> Option<T>) -> impl Iterator<Item = (T, Cell)> {
        let records = self.records();
        records.filter_map(move |(_, record)| Some((value(warehouse_of(record))?, unpack(record))))
    }

    pub(crate) fn get(&self, warehouse: u16) -> Option<Cell> {
        let (_, record) = self.find(warehouse)?;
        Some(unpack(record))
    }

    /// Changes a cell. If the change fails, the cell stays unchanged. Returns None if this warehouse has no
    /// cell.
    pub(crate) fn update<R, E>(
        &mut self,
        warehouse: u16,
        change: impl FnOnce(&mut Cell) -> Result<R, E>,
    ) -> Option<Result<R, E>> {
        let (at, old) = self.find(warehouse)?;
        let (old_bytes, mut cell) = (old.len(), unpack(old));
        let changed = match change(&mut cell) {
            Ok(changed) => changed,
            Err(error) => return Some(Err(error)),
        };
        let new = pack(&cell);
        if old_bytes == new.len() {
            self.0[at..at + old_bytes].copy_from_slice(&new);
        } else {
            self.splice(at, old_bytes, &new);
        }
        Some(Ok(changed))
    }

    /// Inserts a cell before the first one whose warehouse `is_later`.
    pub(crate) fn insert(&mut self, cell: &Cell, is_later: impl Fn(u16) -> bool) {
        let later = self.records().find(|(_, record)| is_later(warehouse_of(record)));
        let at = later.map_or(self.0.len(), |(at, _)| at);
        self.splice(at, 0, &pack(cell));
    }

    fn splice(&mut self, at: usize, old_bytes: usize, new: &[u8]) {
        let mut bytes = Vec::with_capacity(self.0.len() - old_bytes + new.len());
        bytes.extend_from_slice(&self.0[..at]);
        bytes.extend_from_slice(new);
        bytes.extend_from_slice(&self.0[at + old_bytes..]);
        self.0 = bytes.into_boxed_slice();
    }

    fn find(&self, warehouse: u16) -> Option<(usize, &[u8])> {
        self.records()
            .find(|(_, record)| warehouse_of(record) == warehouse)
    }

    /// Returns each record with the place where it begins.
    fn records(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let mut at = 0;
        std::iter::from_fn(move || {
            let rest = self.0.get(at..).filter(|rest| !rest.is_empty())?;
            let (began, bytes) = (at, length_of(rest));
            at += bytes;
            Some((began, &rest[..bytes]))
        })
    }
}

impl FromIterator<Cell> for Cells {
    fn from_iter<I: IntoIterator<Item = Cell>>(cells: I) -> Self {
        let records: Vec<u8> = cells.into_iter().flat_map(|cell| pack(&cell)).collect();
        Self(records.into_boxed_slice())
    }
}

impl Serialize for Cells {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for cell in self.iter() {
            list.serialize_element(&cell)?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Cell>::deserialize(deserializer)?.into_iter().collect())
    }
}

fn warehouse_of(record: &[u8]) -> u16 {
    u16::from_le_bytes([record[2], record[3]])
}

fn length_of(record: &[u8]) -> usize {
    let words = match record[4] & !WITH_POOLS {
        LONG => u32::from_le_bytes([record[5], record[6], record[7], record[8]]) as usize,
        words => usize::from(words),
    };
    words * ALIGNMENT
}

/// Returns the numbers of a cell by their bit in the mask. Numbers that may be negative are folded (zigzag),
/// so that small ones stay short.
fn numbers(cell: &Cell) -> [u64; 16] {
    let Flows {
        received,
        returned,
        transferred_in,
        transferred_out,
        adjusted,
        shipped,
    } = cell.flows;
    let folded = (adjusted << 1 ^ adjusted >> 63) as u64;
    [
        cell.on_hand as u64,
        cell.free as u64,
        cell.safety as u64,
        cell.held as u64,
        cell.committed as u64,
        cell.damaged as u64,
        cell.quality_hold as u64,
        cell.deficit as u64,
        cell.backordered as u64,
        cell.in_transit as u64,
        received as u64,
        returned as u64,
        transferred_in as u64,
        transferred_out as u64,
        folded,
        shipped as u64,
    ]
}

fn pack(cell: &Cell) -> Record {
    let mut record = Record::from_slice(&[0; HEAD_BYTES]);
    let mut mask = 0_u16;
    for (bit, number) in numbers(cell).into_iter().enumerate() {
        if number != 0 {
            mask |= 1 << bit;
            write(&mut record, number);
        }
    }
    let mut flags = 0;
    if !cell.pools.is_empty() {
        flags = WITH_POOLS;
        write(&mut record, cell.pools.len() as u64);
        for pool in &cell.pools {
            write(&mut record, u64::from(pool.storefront));
            write(&mut record, pool.quantity as u64);
        }
    }
    let mut words = record.len().div_ceil(ALIGNMENT);
    if words >= usize::from(LONG) {
        words = (record.len() + 4).div_ceil(ALIGNMENT);
        record.insert_from_slice(HEAD_BYTES, &(words as u32).to_le_bytes());
        flags |= LONG;
    } else {
        flags |= words as u8;
    }
    record.resize(words * ALIGNMENT, 0);
    record[..2].copy_from_slice(&mask.to_le_bytes());
    record[2..4].copy_from_slice(&cell.warehouse.to_le_bytes());
    record[4] = flags;
    record
}

fn unpack(record: &[u8]) -> Cell {
    let mut mask = u16::from_le_bytes([record[0], record[1]]);
    let is_long = record[4] & !WITH_POOLS == LONG;
    let mut rest = &record[if is_long { HEAD_BYTES + 4 } else { HEAD_BYTES }..];
    let mut values = [0_u64; 16];
    while mask != 0 {
        values[mask.trailing_zeros() as usize] = read(&mut rest);
        mask &= mask - 1;
    }
    let pools = if record[4] & WITH_POOLS == 0 {
        Vec::new()
    } else {
        let count = read(&mut rest);
        let pool = |_| Pool {
            storefront: read(&mut rest) as u16,
            quantity: read(&mut rest) as i64,
        };
        (0..count).map(pool).collect()
    };
    let [
        on_hand,
        free,
        safety,
        held,
        committed,
        damaged,
        quality_hold,
        deficit,
        backordered,
        in_transit,
        received,
        returned,
        transferred_in,
        transferred_out,
        adjusted,
        shipped,
    ] = values.map(|value| value as i64);
    Cell {
        warehouse: warehouse_of(record),
        on_hand,
        free,
        pools,
        safety,
        held,
        committed,
        damaged,
        quality_hold,
        deficit,
        backordered,
        in_transit,
        flows: Flows {
            received,
            returned,
            transferred_in,
            transferred_out,
            adjusted: (adjusted as u64 >> 1) as i64 ^ -(adjusted & 1),
            shipped,
        },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number() -> impl Strategy<Value = i64> {
        prop_oneof![
            4 => Just(0),
            4 => 0..300_i64,
            2 => 0..=i64::MAX,
            1 => any::<i64>(),
        ]
    }

    prop_compose! {
        fn cell()(
            warehouse in 0..6_u16,
            buckets in proptest::array::uniform10(number()),
            flows in proptest::array::uniform6(number()),
            pools in prop_oneof![
                3 => Just(Vec::new()),
                2 => proptest::collection::vec((any::<u16>(), number()), 0..4),
                1 => proptest::collection::vec((any::<u16>(), number()), 90..400),
            ],
        ) -> Cell {
            let [on_hand, free, safety, held, committed, damaged, quality_hold, deficit, backordered, in_transit] = buckets;
            let [received, returned, transferred_in, transferred_out, adjusted, shipped] = flows;
            let pool = |(storefront, quantity)| Pool { storefront, quantity };
            Cell {
                warehouse, on_hand, free, safety, held, committed, damaged, quality_hold, deficit, backordered, in_transit,
                pools: pools.into_iter().map(pool).collect(),
                flows: Flows { received, returned, transferred_in, transferred_out, adjusted, shipped },
            }
        }
    }

    proptest! {
        /// A plain list of whole cells has the same result.
        #[test]
        fn packed_cells_are_the_cells_that_were_put_in(steps in proptest::collection::vec(cell(), 1..40)) {
            let mut packed = Cells::default();
            let mut plain: Vec<Cell> = Vec::new();
            for cell in steps {
                match plain.iter_mut().find(|other| other.warehouse == cell.warehouse) {
                    Some(old) => {
                        let refused = packed.update(cell.warehouse, |there| {
                            *there = Cell::new(0);
                            Err::<(), ()>(())
                        });
                        prop_assert_eq!(refused, Some(Err(())));
                        let before = packed.update(cell.warehouse, |there| {
                            Ok::<_, ()>(std::mem::replace(there, cell.clone()))
                        });
                        prop_assert_eq!(before, Some(Ok(old.clone())));
                        *old = cell;
                    }
                    None => {
                        prop_assert_eq!(packed.update(cell.warehouse, |_| Ok::<_, ()>(())), None);
                        packed.insert(&cell, |warehouse| warehouse > cell.warehouse);
                        plain.push(cell);
                        plain.sort_by_key(|cell| cell.warehouse);
                    }
                }
                prop_assert_eq!(packed.iter().collect::<Vec<_>>(), plain.clone());
                prop_assert_eq!(packed.len(), plain.len());
            }
            for cell in &plain {
                prop_assert_eq!(packed.get(cell.warehouse), Some(cell.clone()));
            }
            prop_assert_eq!(packed.get(6), None);
            prop_assert_eq!(plain.into_iter().collect::<Cells>(), packed);
        }
    }

    #[test]
    fn a_usual_cell_takes_16_bytes() {
        let cell = Cell {
            on_hand: 12_000,
            free: 11_900,
            held: 40,
            committed: 60,
            flows: Flows {
                received: 14_000,
                shipped: 2_000,
                ..Flows::default()
            },
            ..Cell::new(3)
        };
        assert_eq!(pack(&cell).len(), 16);
    }
}
