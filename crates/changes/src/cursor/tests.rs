use super::*;

const CLUSTER: Uuid = Uuid::from_u128(1);

fn change(seq: u64, entry_offset: u32, entry_changes: u32) -> Change {
    let log_index = 1000 + seq - u64::from(entry_offset);
    Change {
        shard: 3,
        seq,
        entry_offset,
        entry_changes,
        log_index,
        ..Change::default()
    }
}

fn seqs(changes: &[Change]) -> Vec<u64> {
    changes.iter().map(|change| change.seq).collect()
}

#[test]
fn what_was_consumed_is_dropped_and_the_rest_is_taken_once() {
    let mut cursors = Cursors::in_memory();
    let stream = vec![change(1, 0, 2), change(2, 1, 2), change(3, 0, 1)];
    assert_eq!(seqs(&cursors.admit(3, stream.clone()).unwrap()), [1, 2, 3]);
    assert_eq!(seqs(&cursors.admit(3, stream).unwrap()), [] as [u64; 0]);
    let again = vec![change(3, 0, 1), change(4, 0, 1), change(4, 0, 1)];
    assert_eq!(seqs(&cursors.admit(3, again).unwrap()), [4]);
    assert_eq!(cursors.last_seq(3), 4);
}

#[test]
fn a_gap_is_an_error_and_the_cursor_stays() {
    let mut cursors = Cursors::in_memory();
    cursors.admit(3, vec![change(1, 0, 1)]).unwrap();
    let error = cursors
        .admit(3, vec![change(2, 0, 1), change(4, 0, 1)])
        .unwrap_err();
    assert_eq!(
        error,
        SequenceError::Gap {
            shard: 3,
            expected: 3,
            found: 4
        }
    );
    assert_eq!(cursors.last_seq(3), 1);
}

#[test]
fn part_of_an_entry_is_never_taken() {
    let mut cursors = Cursors::in_memory();
    for part in [
        vec![change(1, 0, 2)],
        vec![change(1, 1, 2)],
        vec![change(1, 0, 3), change(2, 2, 3)],
        vec![change(1, 0, 2), change(2, 0, 1)],
        vec![change(1, 0, 0)],
    ] {
        let error = cursors.admit(3, part).unwrap_err();
        assert!(matches!(error, SequenceError::SplitEntry { .. }), "{error}");
    }
    assert_eq!(cursors.last_seq(3), 0);
}

#[test]
fn a_change_of_another_shard_is_an_error() {
    let mut cursors = Cursors::in_memory();
    let error = cursors.admit(4, vec![change(1, 0, 1)]).unwrap_err();
    assert_eq!(
        error,
        SequenceError::OtherShard {
            expected: 4,
            found: 3
        }
    );
}

#[test]
fn saved_cursors_are_there_after_a_restart_and_unsaved_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursors.json");
    let mut cursors = Cursors::open(&path, CLUSTER).unwrap();
    cursors.advance(0, 7);
    cursors.advance(3, 9);
    cursors.save().unwrap();
    cursors.advance(0, 8);
    drop(cursors);
    let cursors = Cursors::open(&path, CLUSTER).unwrap();
    assert_eq!(
        [cursors.last_seq(0), cursors.last_seq(3), cursors.last_seq(1)],
        [7, 9, 0]
    );
}

#[test]
fn a_crash_while_the_new_file_is_written_leaves_the_old_cursors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursors.json");
    let mut cursors = Cursors::open(&path, CLUSTER).unwrap();
    cursors.advance(0, 7);
    cursors.save().unwrap();
    let whole = std::fs::read(&path).unwrap();
    for torn in 0..whole.len() {
        std::fs::write(folder.path().join("cursors.json.new"), &whole[..torn]).unwrap();
        let mut reopened = Cursors::open(&path, CLUSTER).unwrap();
        assert_eq!(reopened.last_seq(0), 7);
        reopened.advance(0, 7);
        reopened.save().unwrap();
    }
}

#[test]
fn a_damaged_or_foreign_file_is_told_and_never_read_as_the_beginning() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursors.json");
    for content in [
        "",
        "{",
        "[]",
        "{\"version\":3,\"last_seq\":{}}",
        "{\"version\":2,\"last_seq\":{}}",
        "{\"version\":1,\"last_seq\":{\"0\":-1}}",
    ] {
        std::fs::write(&path, content).unwrap();
        let error = Cursors::open(&path, CLUSTER).unwrap_err();
        assert!(
            matches!(error, CursorError::Unreadable { .. }),
            "{content}: {error}"
        );
    }
}

#[test]
fn the_cursors_of_another_cluster_are_refused_and_those_that_name_none_are_taken_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cursors.json");
    std::fs::write(&path, "{\"version\":1,\"last_seq\":{\"0\":7}}").unwrap();
    let cursors = Cursors::open(&path, CLUSTER).unwrap();
    assert_eq!(cursors.last_seq(0), 7);
    cursors.save().unwrap();
    let other = Uuid::from_u128(2);
    let error = Cursors::open(&path, other).unwrap_err();
    assert!(
        matches!(error, CursorError::OtherCluster { owner: CLUSTER, cluster, .. } if cluster == other),
        "{error}"
    );
    assert_eq!(Cursors::open(&path, CLUSTER).unwrap().last_seq(0), 7);
}

#[test]
fn a_stream_that_ends_before_the_cursor_is_an_error() {
    let mut cursors = Cursors::in_memory();
    cursors.advance(3, 9);
    cursors.check(3, 9).unwrap();
    cursors.check(4, 0).unwrap();
    let error = cursors.check(3, 8).unwrap_err();
    assert!(
        matches!(
            error,
            CursorError::EndsBefore {
                shard: 3,
                consumed: 9,
                last_seq: 8,
                ..
            }
        ),
        "{error}"
    );
}

proptest::proptest! {
    #[test]
    fn however_often_parts_are_delivered_again_each_change_is_taken_once(
        sizes in proptest::collection::vec(1u32..5, 1..20),
        starts in proptest::collection::vec(0usize..20, 1..40),
    ) {
        let mut entries: Vec<Vec<Change>> = Vec::new();
        let mut seq = 0;
        for size in sizes {
            entries.push((0..size).map(|at| { seq += 1; change(seq, at, size) }).collect());
        }
        let mut cursors = Cursors::in_memory();
        let mut taken = Vec::new();
        let mut reached = 0;
        for start in starts {
            let from = start.min(reached).min(entries.len());
            let to = (from + 1 + start % 4).min(entries.len());
            reached = reached.max(to);
            let message = entries[from..to].concat();
            taken.extend(seqs(&cursors.admit(3, message).unwrap()));
        }
        let expected: Vec<u64> = (1..=entries[..reached].concat().len() as u64).collect();
        proptest::prop_assert_eq!(taken, expected);
    }
}
