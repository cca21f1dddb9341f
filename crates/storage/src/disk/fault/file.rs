//! One file of a [`FaultDisk`](super::FaultDisk): the bytes that programs see, the durable ones, and the
//! unsynced writes between.

use rand::RngExt;
use rand::rngs::SmallRng;

const SECTOR_BYTES: usize = 512;

#[derive(Default, Clone)]
pub(super) struct FileData {
    pub(super) current: Vec<u8>,
    pub(super) durable: Vec<u8>,
    pub(super) unsynced: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Resize { bytes: usize },
}

impl Change {
    pub(super) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write_into(content, *offset, bytes),
            Change::Resize { bytes } => content.resize(*bytes, 0),
        }
    }
}

impl FileData {
    /// Leaves one of these of the unsynced writes: nothing, all, a prefix torn at any byte, or any sectors.
    pub(super) fn crash(&mut self, random: &mut SmallRng) {
        let changes = std::mem::take(&mut self.unsynced);
        match random.random_range(0..4) {
            0 => {}
            1 => changes.iter().for_each(|change| change.apply(&mut self.durable)),
            2 => self.keep_prefix(&changes, random),
            _ => self.keep_sectors(&changes, random),
        }
        self.current = self.durable.clone();
    }

    fn keep_prefix(&mut self, changes: &[Change], random: &mut SmallRng) {
        let whole = random.random_range(0..=changes.len());
        changes[..whole]
            .iter()
            .for_each(|change| change.apply(&mut self.durable));
        if let Some(Change::Write { offset, bytes }) = changes.get(whole) {
            let torn = random.random_range(0..=bytes.len());
            write_into(&mut self.durable, *offset, &bytes[..torn]);
        }
    }

    fn keep_sectors(&mut self, changes: &[Change], random: &mut SmallRng) {
        for change in changes {
            let Change::Write { offset, bytes } = change else {
                continue;
            };
            let mut start = 0;
            while start < bytes.len() {
                let sector_end = (offset + start + 1).next_multiple_of(SECTOR_BYTES) - offset;
                let end = sector_end.min(bytes.len());
                if random.random_bool(0.5) {
                    write_into(&mut self.durable, offset + start, &bytes[start..end]);
                }
                start = end;
            }
        }
    }
}

fn write_into(content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if content.len() < end {
        content.resize(end, 0);
    }
    content[offset..end].copy_from_slice(bytes);
}
