//! Records that are needed only at the end. They wait on disk in partitions by their key, and memory holds
//! one partition at a time.

use std::fs::File;
use std::io::{Read, Seek, Write};

use xxhash_rust::xxh3::xxh3_64;

/// Records of `SIZE` bytes, of which the first `KEY` bytes are the key. Records with equal keys are in one
/// partition.
#[derive(Debug)]
pub(super) struct Spill<const KEY: usize, const SIZE: usize> {
    partitions: Vec<Partition>,
}

/// The records of one partition. Older records are in a file without a name, which disappears by itself.
/// There is no file while the records are few.
#[derive(Debug, Default)]
struct Partition {
    file: Option<File>,
    buffer: Vec<u8>,
}

/// The number of partitions. With ten million records of 40 bytes, each has three megabytes.
const PARTITIONS: usize = 128;
const BUFFER_BYTES: usize = 16 * 1024;

impl<const KEY: usize, const SIZE: usize> Spill<KEY, SIZE> {
    pub(super) fn new() -> Self {
        Self {
            partitions: (0..PARTITIONS).map(|_| Partition::default()).collect(),
        }
    }

    pub(super) fn push(&mut self, record: &[u8; SIZE]) -> std::io::Result<()> {
        let partition = &mut self.partitions[xxh3_64(&record[..KEY]) as usize % PARTITIONS];
        partition.buffer.extend_from_slice(record);
        if partition.buffer.len() >= BUFFER_BYTES {
            let file = match &mut partition.file {
                Some(file) => file,
                none => none.insert(tempfile::tempfile()?),
            };
            file.write_all(&partition.buffer)?;
            partition.buffer.clear();
        }
        Ok(())
    }

    /// Passes each partition's records, sorted by all their bytes, to `each`.
    pub(super) fn drain(self, mut each: impl FnMut(&[[u8; SIZE]])) -> std::io::Result<()> {
        for Partition { file, buffer } in self.partitions {
            let mut bytes = Vec::new();
            if let Some(mut file) = file {
                file.rewind()?;
                file.read_to_end(&mut bytes)?;
            }
            bytes.extend(buffer);
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
        let mut spill = Spill::<2, 4>::new();
        for at in (0..1000u16).rev() {
            let [high, low] = (at % 300).to_be_bytes();
            spill.push(&[high, low, (at / 300) as u8, 7]).unwrap();
        }
        assert!(spill.partitions.iter().all(|partition| partition.file.is_none()));
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

    #[test]
    fn more_than_a_buffer_goes_to_disk_and_comes_back_whole() {
        let mut spill = Spill::<8, 16>::new();
        let count = 400_000u64;
        for at in 0..count {
            let mut record = [0; 16];
            record[..8].copy_from_slice(&(at / 2).to_be_bytes());
            record[8..].copy_from_slice(&at.to_be_bytes());
            spill.push(&record).unwrap();
        }
        assert!(spill.partitions.iter().all(|partition| partition.file.is_some()));
        assert!(
            spill
                .partitions
                .iter()
                .all(|partition| partition.buffer.len() < BUFFER_BYTES)
        );
        let (mut seen, mut sum) = (0, 0);
        spill
            .drain(|records| {
                for pair in records.chunk_by(|a, b| a[..8] == b[..8]) {
                    assert_eq!(pair.len(), 2);
                    seen += 2;
                    sum += pair.iter().map(|record| u64::from(record[15])).sum::<u64>();
                }
            })
            .unwrap();
        assert_eq!((seen, sum), (count, (0..count).map(|at| at & 0xff).sum()));
    }
}
