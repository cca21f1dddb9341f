//! A vector with cheap copies. Its elements lie in chunks, and copies share each chunk until one of them
//! changes it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeSeq};

/// The elements of a chunk. The first change after a copy copies this many.
const CHUNK: usize = 64;

/// Elements by number. No element is ever removed.
#[derive(Clone, Default)]
pub(crate) struct ChunkedVec<T> {
    /// Chunks. All places after the last element hold default values.
    chunks: Vec<Arc<[T; CHUNK]>>,
    len: usize,
}

impl<T: Clone + Default> ChunkedVec<T> {
    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        if number >= self.len {
            return None;
        }
        let chunk = self.chunks.get_mut(number / CHUNK)?;
        Some(&mut Arc::make_mut(chunk)[number % CHUNK])
    }

    pub(crate) fn push(&mut self, element: T) {
        if self.len == self.chunks.len() * CHUNK {
            self.chunks.push(Arc::new(std::array::from_fn(|_| T::default())));
        }
        let (chunk, place) = (self.len / CHUNK, self.len % CHUNK);
        Arc::make_mut(&mut self.chunks[chunk])[place] = element;
        self.len += 1;
    }
}

impl<T> ChunkedVec<T> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        if number >= self.len {
            return None;
        }
        Some(&self.chunks.get(number / CHUNK)?[number % CHUNK])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        let elements = self.chunks.iter().flat_map(|chunk| chunk.iter());
        elements.take(self.len)
    }
}

impl<T: Clone + Default> FromIterator<T> for ChunkedVec<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut all = Self::default();
        elements.into_iter().for_each(|element| all.push(element));
        all
    }
}

impl<T: fmt::Debug> fmt::Debug for ChunkedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<T: Serialize> Serialize for ChunkedVec<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.len()))?;
        for element in self.iter() {
            list.serialize_element(element)?;
        }
        list.end()
    }
}

impl<'de, T: Clone + Default + Deserialize<'de>> Deserialize<'de> for ChunkedVec<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_stays_what_it_was() {
        let mut numbers: ChunkedVec<u32> = (0..1000).collect();
        let copy = numbers.clone();
        numbers.push(1000);
        for number in (0..1001).step_by(10) {
            *numbers.get_mut(number).unwrap() += 5000;
        }
        assert!(copy.iter().copied().eq(0..1000));
        assert_eq!((copy.len(), numbers.len()), (1000, 1001));
        for (number, element) in (0..).zip(numbers.iter()) {
            let expected = if number % 10 == 0 { number + 5000 } else { number };
            assert_eq!(*element, expected);
            assert_eq!(numbers.get(number as usize), Some(&expected));
        }
        assert_eq!(numbers.get(1001), None);
        assert!(numbers.get_mut(1001).is_none());
    }

    #[test]
    fn it_is_written_as_any_list() {
        let numbers: ChunkedVec<u32> = (0..200).collect();
        let bytes = postcard::to_allocvec(&numbers).unwrap();
        assert_eq!(
            bytes,
            postcard::to_allocvec(&(0..200).collect::<Vec<u32>>()).unwrap()
        );
        let read: ChunkedVec<u32> = postcard::from_bytes(&bytes).unwrap();
        assert!(read.iter().eq(numbers.iter()));
    }
}
