//! A hasher with a fixed seed, so that every replica lays out its indexes alike.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Builds [`FixedHasher`]s.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FixedState;

/// A hasher that runs XXH3 over each written piece, with the hash of the earlier pieces as its seed.
#[derive(Debug)]
pub(crate) struct FixedHasher(u64);

impl BuildHasher for FixedState {
    type Hasher = FixedHasher;
    fn build_hasher(&self) -> FixedHasher {
        FixedHasher(0)
    }
}

impl Hasher for FixedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    // A byte is the end mark of a string or the tag of an enum. That is too little to be worth a round of
    // XXH3.
    fn write_u8(&mut self, byte: u8) {
        self.0 = self.0.rotate_left(5) ^ u64::from(byte);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
