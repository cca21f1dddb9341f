//! Tests of snapshots.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::{BLOCK_BYTES, SnapshotError, SnapshotFile, SnapshotStore};
use crate::{FaultDisk, FileError};

fn open(disk: &FaultDisk) -> SnapshotStore {
    SnapshotStore::open(Arc::new(disk.clone()), 3).unwrap()
}

fn content(bytes: usize, salt: u8) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8 ^ salt).collect()
}

fn write(store: &SnapshotStore, meta: &'static [u8], content: &[u8]) -> SnapshotFile {
    let mut writer = store.begin(Bytes::from_static(meta)).unwrap();
    for piece in content.chunks(1000) {
        writer.write(piece).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    for bytes in [0, 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES - 7] {
        let disk = FaultDisk::new(1);
        let store = open(&disk);
        assert_eq!(store.latest().unwrap(), None);
        let written = write(&store, b"meta", &content(bytes, 0));
        assert_eq!(written.bytes, bytes as u64);
        let store = open(&disk.crash());
        assert_eq!(store.latest().unwrap(), Some(written));
        let mut reader = store.open_latest().unwrap().unwrap();
        assert_eq!(reader.file().meta, &b"meta"[..]);
        assert!(reader.read_to_end().unwrap() == content(bytes, 0));
        assert_eq!(reader.next_block().unwrap(), None);
    }
}

#[test]
fn the_newest_two_are_kept_and_an_open_one_stays_readable() {
    let disk = FaultDisk::new(1);
    let store = open(&disk);
    write(&store, b"1", &content(5000, 1));
    let mut first = store.open_latest().unwrap().unwrap();
    write(&store, b"2", &content(5000, 2));
    write(&store, b"3", &content(5000, 3));
    assert_eq!(store.list(), [2, 3]);
    assert_eq!(disk.paths().len(), 2);
    assert!(first.read_to_end().unwrap() == content(5000, 1));
    assert_eq!(store.open_previous().unwrap().unwrap().file().meta, &b"2"[..]);
    assert_eq!(write(&open(&disk), b"4", &[]).number, 4);
}

#[test]
fn an_unfinished_snapshot_leaves_nothing() {
    let disk = FaultDisk::new(1);
    let store = open(&disk);
    let written = write(&store, b"old", &content(100, 0));
    let mut writer = store.begin(Bytes::from_static(b"new")).unwrap();
    writer.write(&content(BLOCK_BYTES * 2, 0)).unwrap();
    drop(writer);
    assert_eq!(disk.paths().len(), 1);
    let mut writer = store.begin(Bytes::from_static(b"new")).unwrap();
    writer.write(&content(BLOCK_BYTES * 2, 0)).unwrap();
    let disk = disk.crash();
    drop(writer);
    let store = open(&disk);
    assert_eq!(disk.paths().len(), 1);
    assert_eq!(store.latest().unwrap(), Some(written));
}

#[test]
fn a_failed_sync_keeps_the_older_snapshot() {
    let disk = FaultDisk::new(1);
    let store = open(&disk);
    let written = write(&store, b"old", &content(100, 0));
    let mut writer = store.begin(Bytes::from_static(b"new")).unwrap();
    writer.write(&content(100, 1)).unwrap();
    disk.fail_sync_after(0);
    assert!(matches!(
        writer.finish(),
        Err(SnapshotError::File(FileError::Io {
            operation: "sync",
            ..
        }))
    ));
    assert_eq!(store.latest().unwrap(), Some(written.clone()));
    assert_eq!(open(&disk.crash()).latest().unwrap(), Some(written));
}

/// Reads the newest snapshot: returns its meta and content, or an error.
fn read(store: &SnapshotStore) -> Result<(Bytes, Vec<u8>), SnapshotError> {
    let mut reader = store.open_latest()?.unwrap();
    let content = reader.read_to_end()?;
    Ok((reader.file().meta.clone(), content))
}

#[test]
fn every_flipped_bit_is_found_and_the_older_one_is_still_there() {
    let disk = FaultDisk::new(1);
    let store = open(&disk);
    write(&store, b"1", &content(90, 1));
    write(&store, b"2", &content(130, 2));
    let path = disk.paths()[1].clone();
    let original = disk.content(&path).unwrap();
    for offset in 0..original.len() {
        for bit in 0..8 {
            disk.set_content(&path, original.clone());
            disk.flip_bit(&path, offset as u64, bit);
            match read(&store) {
                Err(SnapshotError::File(FileError::Corrupt { file, .. })) => assert_eq!(file, path),
                other => panic!("byte {offset} bit {bit}: {other:?}"),
            }
            assert!(store.open_previous().unwrap().unwrap().read_to_end().unwrap() == content(90, 1));
        }
    }
}

#[test]
fn a_snapshot_cut_anywhere_is_an_error() {
    let disk = FaultDisk::new(1);
    let store = open(&disk);
    write(&store, b"meta", &content(130, 2));
    let path = disk.paths()[0].clone();
    let original = disk.content(&path).unwrap();
    for length in 0..original.len() {
        disk.set_content(&path, original[..length].to_vec());
        assert!(
            matches!(read(&store), Err(SnapshotError::File(FileError::Corrupt { .. }))),
            "{length}"
        );
    }
}

#[test]
fn blocks_in_another_order_are_an_error() {
    let disk = FaultDisk::new(1);
    let store = open(&disk);
    write(&store, b"", &content(2 * BLOCK_BYTES, 2));
    let path = disk.paths()[0].clone();
    let mut bytes = disk.content(&path).unwrap();
    let block = BLOCK_BYTES + 24;
    let start = 16 + 24;
    let (first, second) = bytes[start..start + 2 * block].split_at_mut(block);
    first.swap_with_slice(second);
    disk.set_content(&path, bytes);
    assert!(matches!(
        read(&store),
        Err(SnapshotError::File(FileError::Corrupt { .. }))
    ));
}

#[test]
fn a_meta_over_the_limit_is_refused() {
    let store = open(&FaultDisk::new(1));
    let begun = store.begin(Bytes::from(vec![0; BLOCK_BYTES + 1]));
    assert!(matches!(
        begun.map(|_| ()),
        Err(SnapshotError::MetaTooLarge { .. })
    ));
}

proptest! {
    #[test]
    fn garbage_is_an_error_and_never_a_panic(garbage in prop::collection::vec(any::<u8>(), 0..3000), keep in 0usize..200) {
        let disk = FaultDisk::new(1);
        let store = open(&disk);
        write(&store, b"meta", &content(130, 2));
        let path = disk.paths()[0].clone();
        let original = disk.content(&path).unwrap();
        let mut bytes = original[..keep.min(original.len())].to_vec();
        let keep = bytes.len();
        bytes.extend_from_slice(&garbage);
        prop_assume!(keep < original.len() || !garbage.is_empty());
        disk.set_content(&path, bytes.clone());
        prop_assert!(bytes == original || read(&store).is_err());
    }
}
