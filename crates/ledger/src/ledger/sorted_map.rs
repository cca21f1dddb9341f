//! A sorted map with cheap copies. Its entries lie in chunks, and copies share each chunk until one of them
//! changes it.
//!
//! A snapshot is written from such a copy while the ledger goes on. For ids, the map is also smaller than a
//! B-tree. Ids mostly come in order of time, so a chunk is nearly full when the next one begins.

use std::collections::VecDeque;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use smallvec::SmallVec;

/// The most entries of a chunk. An insertion moves up to this many, and the first change after a copy copies
/// this many. A full chunk of operation ids takes 1272 bytes with its head, and one of reservations 2016.
/// Both are just below the size classes of allocators (1280, 2048).
const CHUNK: usize = 31;
/// The entries that stay in the last chunk when it is full and a new one begins. Some room is left for
/// entries that come late.
const KEPT_OF_THE_LAST: usize = 28;
/// The fewest entries of a chunk. A smaller chunk is joined with the next one, if that is half empty.
const SPARSE: usize = CHUNK / 4;

/// The entries of a chunk, in one allocation together with the reference counts.
type Entries<K, V> = SmallVec<[(K, V); CHUNK]>;

/// A sorted map of entries in order of their keys.
#[derive(Clone)]
pub(crate) struct SortedMap<K, V> {
    /// Chunks, none of them empty.
    chunks: VecDeque<Chunk<K, V>>,
    len: usize,
}

#[derive(Clone)]
struct Chunk<K, V> {
    /// The lower bound of the chunk. All its keys are at least this. All keys of earlier chunks are less.
    from: K,
    entries: Arc<Entries<K, V>>,
}

impl<K, V> Default for SortedMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: VecDeque::new(),
            len: 0,
        }
    }
}

impl<K: Ord + Copy, V: Clone> SortedMap<K, V> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        let entries = &self.chunks.get(self.chunk_of(key)?)?.entries;
        let at = place(entries, key).ok()?;
        Some(&entries[at].1)
    }

    pub(crate) fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let number = self.chunk_of(key)?;
        let chunk = self.chunks.get_mut(number)?;
        let at = place(&chunk.entries, key).ok()?;
        Some(&mut Arc::make_mut(&mut chunk.entries)[at].1)
    }

    /// Inserts an entry, and returns the value that this key had before.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some(number) = self.chunk_of(&key) else {
            match self.chunks.front_mut() {
                Some(first) => first.from = key,
                None => self.chunks.push_back(Chunk::new(key)),
            }
            return self.insert_into(0, key, value);
        };
        self.insert_into(number, key, value)
    }

    fn insert_into(&mut self, number: usize, key: K, value: V) -> Option<V> {
        let is_last = number + 1 == self.chunks.len();
        let chunk = &mut self.chunks[number];
        let at = match place(&chunk.entries, &key) {
            Ok(at) => {
                let old = &mut Arc::make_mut(&mut chunk.entries)[at].1;
                return Some(std::mem::replace(old, value));
            }
            Err(at) => at,
        };
        self.len += 1;
        let entries = Arc::make_mut(&mut chunk.entries);
        if entries.len() < CHUNK {
            entries.insert(at, (key, value));
            return None;
        }
        let kept = if is_last { KEPT_OF_THE_LAST } else { CHUNK / 2 };
        let mut next: Entries<K, V> = entries.drain(kept..).collect();
        if at <= kept {
            entries.insert(at, (key, value));
        } else {
            next.insert(at - kept, (key, value));
        }
        let from = next[0].0;
        let next = Chunk {
            from,
            entries: Arc::new(next),
        };
        self.chunks.insert(number + 1, next);
        None
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let number = self.chunk_of(key)?;
        let chunk = &mut self.chunks[number];
        let at = place(&chunk.entries, key).ok()?;
        let (_, value) = Arc::make_mut(&mut chunk.entries).remove(at);
        self.len -= 1;
        self.join_if_sparse(number);
        Some(value)
    }

    pub(crate) fn first(&self) -> Option<(&K, &V)> {
        let (key, value) = self.chunks.front()?.entries.first()?;
        Some((key, value))
    }

    pub(crate) fn pop_first(&mut self) -> Option<(K, V)> {
        let first = self.chunks.front_mut()?;
        let entry = Arc::make_mut(&mut first.entries).remove(0);
        self.len -= 1;
        self.join_if_sparse(0);
        Some(entry)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let entries = self.chunks.iter().flat_map(|chunk| chunk.entries.iter());
        entries.map(|(key, value)| (key, value))
    }

    /// Returns the last chunk whose keys may be as small as this one. It is mostly the last of all.
    fn chunk_of(&self, key: &K) -> Option<usize> {
        let last = self.chunks.back()?;
        let after = if last.from <= *key {
            self.chunks.len()
        } else {
            self.chunks.partition_point(|chunk| chunk.from <= *key)
        };
        after.checked_sub(1)
    }

    fn join_if_sparse(&mut self, number: usize) {
        let entries = self.chunks[number].entries.len();
        if entries == 0 {
            self.chunks.remove(number);
            return;
        }
        let next_is_half_empty = |next: &Chunk<K, V>| next.entries.len() <= CHUNK / 2;
        if entries < SPARSE
            && self.chunks.get(number + 1).is_some_and(next_is_half_empty)
            && let Some(next) = self.chunks.remove(number + 1)
        {
            let entries = Arc::make_mut(&mut self.chunks[number].entries);
            entries.extend(Arc::unwrap_or_clone(next.entries));
        }
    }
}

impl<K, V> Chunk<K, V> {
    fn new(from: K) -> Self {
        Self {
            from,
            entries: Arc::new(Entries::new()),
        }
    }
}

fn place<K: Ord, V>(entries: &[(K, V)], key: &K) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| other.cmp(key))
}

impl<K: Ord + Copy, V: Clone> FromIterator<(K, V)> for SortedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

impl<K: Ord + Copy, V: Clone + PartialEq> PartialEq for SortedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<K: Ord + Copy, V: Clone + Eq> Eq for SortedMap<K, V> {}

impl<K: Ord + Copy + fmt::Debug, V: Clone + fmt::Debug> fmt::Debug for SortedMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Serializes the entries as a map, in order.
impl<K: Ord + Copy + Serialize, V: Clone + Serialize> Serialize for SortedMap<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len))?;
        for (key, value) in self.iter() {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, K, V> Deserialize<'de> for SortedMap<K, V>
where
    K: Ord + Copy + Deserialize<'de>,
    V: Clone + Deserialize<'de>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MapVisitor<K, V>(PhantomData<(K, V)>);
        impl<'de, K, V> de::Visitor<'de> for MapVisitor<K, V>
        where
            K: Ord + Copy + Deserialize<'de>,
            V: Clone + Deserialize<'de>,
        {
            type Value = SortedMap<K, V>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
                let mut map = SortedMap::default();
                while let Some((key, value)) = entries.next_entry()? {
                    map.insert(key, value);
                }
                Ok(map)
            }
        }
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Operation {
        Insert(u16),
        InsertAtTheEnd,
        Remove(u16),
        Change(u16),
        PopFirst,
        Copy,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        let key = 0..400_u16;
        prop_oneof![
            4 => key.clone().prop_map(Operation::Insert),
            4 => Just(Operation::InsertAtTheEnd),
            3 => key.clone().prop_map(Operation::Remove),
            2 => key.prop_map(Operation::Change),
            1 => Just(Operation::PopFirst),
            1 => Just(Operation::Copy),
        ]
    }

    fn check(map: &SortedMap<u16, u64>, expected: &BTreeMap<u16, u64>) {
        assert!(map.iter().eq(expected));
        assert_eq!(map.len(), expected.len());
        assert_eq!(map.first(), expected.first_key_value());
        for key in (0..1200).step_by(7) {
            assert_eq!(map.get(&key), expected.get(&key));
            assert_eq!(map.contains_key(&key), expected.contains_key(&key));
        }
        assert!(
            map.chunks
                .iter()
                .all(|chunk| (1..=CHUNK).contains(&chunk.entries.len()))
        );
    }

    proptest! {
        /// A B-tree has the same result, and a copy never changes.
        #[test]
        fn it_is_a_sorted_map(operations in proptest::collection::vec(operation(), 1..1500)) {
            let (mut map, mut expected) = (SortedMap::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (number, operation) in (0_u64..).zip(operations) {
                match operation {
                    Operation::Insert(key) => {
                        prop_assert_eq!(map.insert(key, number), expected.insert(key, number));
                    }
                    Operation::InsertAtTheEnd => {
                        let key = expected.last_key_value().map_or(0, |(last, _)| last + 1);
                        prop_assert_eq!(map.insert(key, number), expected.insert(key, number));
                    }
                    Operation::Remove(key) => prop_assert_eq!(map.remove(&key), expected.remove(&key)),
                    Operation::Change(key) => {
                        let (one, other) = (map.get_mut(&key), expected.get_mut(&key));
                        prop_assert_eq!(&one, &other);
                        if let (Some(one), Some(other)) = (one, other) {
                            (*one, *other) = (number, number);
                        }
                    }
                    Operation::PopFirst => prop_assert_eq!(map.pop_first(), expected.pop_first()),
                    Operation::Copy => copies.push((map.clone(), expected.clone())),
                }
            }
            check(&map, &expected);
            for (copy, expected) in &copies {
                check(copy, expected);
            }
            let bytes = postcard::to_allocvec(&map).unwrap();
            prop_assert_eq!(&bytes, &postcard::to_allocvec(&expected).unwrap());
            prop_assert_eq!(postcard::from_bytes::<SortedMap<u16, u64>>(&bytes).unwrap(), map);
        }
    }

    #[test]
    fn keys_that_come_in_order_fill_their_chunks() {
        let map: SortedMap<u32, ()> = (0..6400).map(|key| (key, ())).collect();
        assert!(map.chunks.len() <= 6400 / KEPT_OF_THE_LAST + 1);
    }

    #[test]
    fn a_chunk_is_not_much_smaller_than_what_an_allocator_gives_for_it() {
        let counts = 2 * size_of::<usize>();
        assert!((1200..=1280).contains(&(size_of::<Entries<[u8; 16], [u64; 3]>>() + counts)));
        assert!((1920..=2048).contains(&(size_of::<Entries<[u8; 16], [u64; 6]>>() + counts)));
    }
}
