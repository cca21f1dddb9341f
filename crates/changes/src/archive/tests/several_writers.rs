//! Tests several exports to one place at the same time.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Each writer has limits of its own, reads as far as it likes, and closes files or dies at any time.
    /// Still the entries follow each other and name the whole stream, and one more export completes them.
    #[test]
    fn several_writers_leave_one_archive(
        steps in prop::collection::vec((0_usize..3, 1_usize..6, any::<bool>(), prop::bool::weighted(0.1)), 1..60),
    ) {
        let stream = entries(40);
        let cuts = [3, 4, 7].map(|rows| Cut { rows, ..CUT });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (so_far, in_the_end, proof) = runtime.block_on(async {
            // The test uses lines because they are written faster than columns; both kinds of files are cut
            // alike.
            let store = Arc::new(InMemory::new());
            let archive = Archive::new(store.clone(), Path::from("some/prefix"), Format::Jsonl);
            let mut writers: Vec<Writer> = Vec::new();
            for cut in cuts {
                writers.push(archive.writer(3, cut).await.unwrap());
            }
            for (at, entries, flushes, dies) in steps {
                let writer = &mut writers[at];
                for _ in 0..entries {
                    let next = writer.next_seq();
                    let entry = stream.iter().find(|entry| entry[0].seq == next);
                    if let Some(entry) = entry {
                        writer.push(entry.clone()).await.unwrap();
                    }
                }
                if flushes {
                    writer.flush().await.unwrap();
                    assert_eq!(writer.waiting(), 0);
                    assert_eq!(writer.archived_through(), writer.next_seq() - 1);
                }
                if dies {
                    *writer = archive.writer(3, cuts[at]).await.unwrap();
                }
            }
            drop(writers);
            let so_far = whole(&archive).await;
            write(&archive, stream.concat()).await;
            (so_far, whole(&archive).await, prove(&archive).await)
        });
        prop_assert_eq!(&so_far[..], &stream.concat()[..so_far.len()]);
        prop_assert_eq!(in_the_end, stream.concat());
        prop_assert!(proof.ok, "{:?}", proof);
    }
}

#[tokio::test]
async fn a_slower_exporter_takes_over_what_the_faster_one_wrote_even_what_it_has_not_seen() {
    let (_, archive) = archive();
    let mut slow = archive.writer(3, CUT).await.unwrap();
    slow.push(entries(2).concat()).await.unwrap();
    write(&archive, entries(6).concat()).await;
    slow.flush().await.unwrap();
    assert_eq!(
        (slow.next_seq(), slow.archived_through(), slow.waiting()),
        (7, 6, 0)
    );
    // It does not know the second file yet.
    slow.push(entries(9).concat()).await.unwrap();
    slow.flush().await.unwrap();
    assert_eq!((slow.archived_through(), slow.written().files), (18, 1));
    assert_eq!(whole(&archive).await, entries(9).concat());
}

#[tokio::test]
async fn other_changes_under_the_same_numbers_are_an_error_that_changes_nothing() {
    let (store, archive) = archive();
    let mut other = archive.writer(3, CUT).await.unwrap();
    let mut changes = entries(2).concat();
    changes[1].sku = "OTHER".into();
    other.push(changes).await.unwrap();
    write(&archive, entries(3).concat()).await;
    let before = modified(&store).await;
    let error = other.flush().await.unwrap_err();
    assert!(matches!(error, ArchiveError::OtherContent { .. }), "{error}");
    assert_eq!(modified(&store).await, before);
    assert_eq!(whole(&archive).await, entries(3).concat());
}

#[tokio::test]
async fn a_file_that_an_interrupted_export_left_is_used_or_left_over() {
    for cut_again in [CUT, Cut { rows: 1, ..CUT }] {
        let (store, archive) = archive();
        write(&archive, entries(2).concat()).await;
        let manifest = Path::from("some/prefix/manifest/shard=0003/day=1970-01-01/0003-000000000001.json");
        store.delete(&manifest).await.unwrap();
        // The same picture as after an entry was removed.
        let proof = prove(&archive).await;
        assert_eq!((proof.ok, proof.fault_count), (false, 1), "{proof:?}");
        assert!(
            proof.faults[0]
                .what
                .contains("an entry was removed, or an export was interrupted")
        );
        let mut writer = archive.writer(3, cut_again).await.unwrap();
        writer.push(entries(2).concat()).await.unwrap();
        writer.flush().await.unwrap();
        let proof = prove(&archive).await;
        assert!(proof.ok, "{proof:?}");
        assert_eq!(proof.left_over, u64::from(cut_again.rows == 1));
        assert_eq!(whole(&archive).await, entries(2).concat());
    }
}
