//! Records that are only needed at the end, on disk in partitions by their key: memory for one partition at a time.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, Write};

use xxhash_rust::xxh3::xxh3_64;

/// Records of `SIZE` bytes whose first `KEY` bytes are the key. Equal keys end up in one partition.
#[derive(Debug)]
pub(super) struct Spill<const KEY: usize, const SIZE: usize> {
    partitions: Vec<BufWriter<File>>,
}

/// With ten million records of 40 bytes, a partition has three megabytes.
const PARTITIONS: usize = 128;

impl<const KEY: usize, const SIZE: usize> Spill<KEY, SIZE> {
    /// Nothing yet, in files that have no name and go away by themselves.
    pub(super) fn new() -> std::io::Result<Self> {
        let one = || tempfile::tempfile().map(|file| BufWriter::with_capacity(16 * 1024, file));
        Ok(Self {
            partitions: (0..PARTITIONS).map(|_| one()).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn push(&mut self, record: &[u8; SIZE]) -> std::io::Result<()> {
        let partition = xxh3_64(&record[..KEY]) as usize % PARTITIONS;
        self.partitions[partition].write_all(record)
    }

    /// Gives each partition's records, sorted by all their bytes, to `each`.
    pub(super) fn drain(self, mut each: impl FnMut(&[[u8; SIZE]])) -> std::io::Result<()> {
        for partition in self.partitions {
            let mut file = partition.into_inner().map_err(|error| error.into_error())?;
            file.rewind()?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            let (records, rest) = bytes.as_chunks::<SIZE>();
            if !rest.is_empty() {
                return Err(std::io::Error::other("a temporary file was cut"));
            }
            let mut records = records.to_vec();
            drop(bytes);
            records.sort_unstable();
            each(&records);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_come_together_and_in_order() {
        let mut spill = Spill::<2, 4>::new().unwrap();
        for at in (0..1000u16).rev() {
            let [high, low] = (at % 300).to_be_bytes();
            spill.push(&[high, low, (at / 300) as u8, 7]).unwrap();
        }
        let (mut seen, mut complete) = (0, 0);
        spill
            .drain(|records| {
                seen += records.len();
                for group in records.chunk_by(|a, b| a[..2] == b[..2]) {
                    let order: Vec<u8> = group.iter().map(|record| record[2]).collect();
                    let key = u16::from_be_bytes([group[0][0], group[0][1]]);
                    let expected = if key < 100 {
                        vec![0, 1, 2, 3]
                    } else {
                        vec![0, 1, 2]
                    };
                    assert_eq!(order, expected);
                    complete += 1;
                }
            })
            .unwrap();
        assert_eq!((seen, complete), (1000, 300));
    }
}
