//! Tables of names: a cell or a line stores a small number instead of a string.
//!
//! Numbers are assigned in order of first use and never reused, so they are the same on every replica.

use std::hash::Hash;

use indexmap::IndexSet;

use crate::{Sku, hash::FixedState, limits::MAX_PLACES_BY_NUMBER};

/// At most 65,535 names and their order: warehouses or storefronts.
#[derive(Debug, Clone)]
pub(crate) struct SmallNames<T> {
    names: IndexSet<T, FixedState>,
    /// Numbers in order of name.
    ordered: Vec<u16>,
    /// The place of each number in `ordered`. A new name never changes the relative order of others.
    ranks: Vec<u16>,
}

/// The most numbers that a table can assign.
pub(crate) const MAX_SMALL_NAMES: usize = MAX_PLACES_BY_NUMBER;

impl<T: Ord + Hash + Clone> SmallNames<T> {
    pub(crate) fn new() -> Self {
        Self {
            names: IndexSet::with_hasher(FixedState),
            ordered: Vec::new(),
            ranks: Vec::new(),
        }
    }

    pub(crate) fn find(&self, name: &T) -> Option<u16> {
        self.names.get_index_of(name).map(|number| number as u16)
    }

    pub(crate) fn name(&self, number: u16) -> &T {
        &self.names[usize::from(number)]
    }

    /// Returns whether a name is known, or there are fewer than `limit` names. The limit is at most
    /// [`MAX_SMALL_NAMES`].
    pub(crate) fn has_room_for(&self, name: &T, limit: usize) -> bool {
        self.names.len() < limit || self.names.contains(name)
    }

    /// Returns the number of a name, and assigns one if it is new. Call [`Self::has_room_for`] first.
    pub(crate) fn intern(&mut self, name: &T) -> u16 {
        if let Some(number) = self.find(name) {
            return number;
        }
        debug_assert!(self.has_room_for(name, MAX_SMALL_NAMES));
        let names = &self.names;
        let rank = self
            .ordered
            .partition_point(|other| names[usize::from(*other)] < *name);
        for later in &self.ordered[rank..] {
            self.ranks[usize::from(*later)] += 1;
        }
        let number = self.names.insert_full(name.clone()).0 as u16;
        self.ordered.insert(rank, number);
        self.ranks.push(rank as u16);
        number
    }

    pub(crate) fn ranks(&self) -> &[u16] {
        &self.ranks
    }

    pub(crate) fn rank(&self, number: u16) -> u16 {
        self.ranks[usize::from(number)]
    }

    /// Returns the number of the name at a place in the order of names.
    pub(crate) fn at_rank(&self, rank: u16) -> u16 {
        self.ordered[usize::from(rank)]
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns the names in order of their numbers.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.names.iter()
    }

    /// Reads names from a snapshot, in order of their numbers. None when a name is repeated, or there are too
    /// many.
    pub(crate) fn from_snapshot(list: Vec<T>) -> Option<Self> {
        let count = list.len();
        let names: IndexSet<T, FixedState> = list.into_iter().collect();
        if names.len() != count || count > MAX_SMALL_NAMES {
            return None;
        }
        let mut ordered: Vec<u16> = (0..count as u16).collect();
        ordered.sort_unstable_by(|a, b| names[usize::from(*a)].cmp(&names[usize::from(*b)]));
        let mut ranks = vec![0; count];
        for (rank, number) in ordered.iter().enumerate() {
            ranks[usize::from(*number)] = rank as u16;
        }
        Some(Self {
            names,
            ordered,
            ranks,
        })
    }
}

/// SKUs with their numbers, and the numbers in order of name.
#[derive(Debug, Clone)]
pub(crate) struct SkuNames {
    names: IndexSet<Sku, FixedState>,
    /// Numbers in order of name, in chunks, so that an insertion moves little.
    ordered: Vec<Vec<u32>>,
}

const CHUNK: usize = 1024;

impl SkuNames {
    pub(crate) fn new() -> Self {
        Self {
            names: IndexSet::with_hasher(FixedState),
            ordered: Vec::new(),
        }
    }

    pub(crate) fn find(&self, sku: &Sku) -> Option<u32> {
        self.names.get_index_of(sku).map(|number| number as u32)
    }

    pub(crate) fn name(&self, number: u32) -> &Sku {
        &self.names[number as usize]
    }

    pub(crate) fn has_room(&self) -> bool {
        self.names.len() < u32::MAX as usize
    }

    /// Returns the number of a SKU, and assigns one if it is new. Call [`Self::has_room`] first.
    pub(crate) fn intern(&mut self, sku: &Sku) -> u32 {
        if let Some(number) = self.find(sku) {
            return number;
        }
        let number = self.names.insert_full(sku.clone()).0 as u32;
        let names = &self.names;
        let after = self
            .ordered
            .partition_point(|chunk| names[chunk[0] as usize] <= *sku);
        if self.ordered.is_empty() {
            self.ordered.push(Vec::new());
        }
        let at = after.saturating_sub(1);
        let chunk = &mut self.ordered[at];
        let place = chunk.partition_point(|other| names[*other as usize] < *sku);
        chunk.insert(place, number);
        if chunk.len() > CHUNK {
            let upper = chunk.split_off(CHUNK / 2);
            self.ordered.insert(at + 1, upper);
        }
        number
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Returns the SKUs in order of their numbers.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Sku> {
        self.names.iter()
    }

    /// Returns the numbers in order of name, from `from` on (or from the next name, if it is unknown).
    pub(crate) fn ordered_from(&self, from: Option<&Sku>) -> impl Iterator<Item = u32> {
        let (chunk, place) = match from {
            None => (0, 0),
            Some(sku) => {
                let after = self.ordered.partition_point(|chunk| self.name(chunk[0]) <= sku);
                let chunk = after.saturating_sub(1);
                let place = self.ordered.get(chunk).map_or(0, |numbers| {
                    numbers.partition_point(|number| self.name(*number) < sku)
                });
                (chunk, place)
            }
        };
        self.ordered[chunk.min(self.ordered.len())..]
            .iter()
            .flatten()
            .skip(place)
            .copied()
    }

    /// Reads SKUs from a snapshot, in order of their numbers. None when a SKU is repeated, or there are too
    /// many.
    pub(crate) fn from_snapshot(list: Vec<Sku>) -> Option<Self> {
        let count = list.len();
        let names: IndexSet<Sku, FixedState> = list.into_iter().collect();
        if names.len() != count || count > u32::MAX as usize {
            return None;
        }
        let mut sorted: Vec<u32> = (0..count as u32).collect();
        sorted.sort_unstable_by(|a, b| names[*a as usize].cmp(&names[*b as usize]));
        let ordered = sorted.chunks(CHUNK / 2).map(<[u32]>::to_vec).collect();
        Some(Self { names, ordered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skus_are_listed_in_order_of_name_from_any_point() {
        let mut names = SkuNames::new();
        let sku = |i: u32| Sku::new(format!("sku-{:06}", i.wrapping_mul(7919) % 5000)).unwrap();
        for i in 0..5000 {
            assert_eq!(names.intern(&sku(i)), i);
        }
        let listed: Vec<&Sku> = names
            .ordered_from(None)
            .map(|number| names.name(number))
            .collect();
        assert_eq!(listed.len(), 5000);
        assert!(listed.is_sorted());
        let read_back = SkuNames::from_snapshot(names.iter().cloned().collect()).unwrap();
        for from in ["sku-000000", "sku-002499", "sku-004999", "a", "z"] {
            let from = Sku::new(from).unwrap();
            let expected: Vec<&Sku> = listed.iter().copied().filter(|sku| **sku >= from).collect();
            for names in [&names, &read_back] {
                let found: Vec<&Sku> = names.ordered_from(Some(&from)).map(|n| names.name(n)).collect();
                assert_eq!(found, expected, "from {from}");
            }
        }
    }

    #[test]
    fn ranks_follow_the_names_and_survive_a_snapshot() {
        let mut names = SmallNames::new();
        for name in ["m", "c", "z", "a", "n"] {
            names.intern(&name);
        }
        assert_eq!(names.ranks(), [2, 1, 4, 0, 3]);
        let read_back = SmallNames::from_snapshot(names.iter().copied().collect()).unwrap();
        assert_eq!(read_back.ranks(), names.ranks());
        assert!(SmallNames::from_snapshot(vec!["a", "b", "a"]).is_none());
    }
}
