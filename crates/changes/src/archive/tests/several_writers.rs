//! Tests several exports to one place at the same time.

use proptest::prelude::*;

use super::*;

proptest! {
    /// Each writer reads as far as it likes, and closes files or dies at any time. Still the files follow
    /// each other and hold the stream, and one more export completes them.
    #[test]
    fn several_writers_leave_one_archive(
        steps in prop::collection::vec((0_usize..3, 1_usize..6, any::<bool>(), prop::bool::weighted(0.1)), 1..60),
    ) {
        let stream = entries(40);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let archived = runtime.block_on(async {
            // The test uses lines because they are written faster than columns; both kinds of files are cut
            // alike.
            let store = Arc::new(InMemory::new());
            let archive = Archive::new(store, Path::from("some/prefix"), Format::Jsonl);
            let mut writers: Vec<Writer> = Vec::new();
            for _ in 0..3 {
                writers.push(archive.writer(3, CUT).await.unwrap());
            }
            for (writer, entries, flushes, dies) in steps {
                let writer = &mut writers[writer];
                for _ in 0..entries {
                    let next = writer.next_seq();
                    let entry = stream.iter().find(|entry| entry[0].seq == next);
                    if let Some(entry) = entry {
                        writer.push(entry.clone()).await.unwrap();
                    }
                }
                if flushes {
                    writer.flush().await.unwrap();
                }
                if dies {
                    *writer = archive.writer(3, CUT).await.unwrap();
                }
            }
            drop(writers);
            let so_far = whole(&archive).await;
            let mut last = archive.writer(3, CUT).await.unwrap();
            last.push(stream.concat()).await.unwrap();
            last.flush().await.unwrap();
            assert_eq!(last.waiting(), 0);
            (so_far, whole(&archive).await)
        });
        prop_assert_eq!(&archived.0[..], &stream.concat()[..archived.0.len()]);
        prop_assert_eq!(archived.1, stream.concat());
    }
}

#[tokio::test]
async fn a_file_that_was_claimed_by_an_export_that_died_is_written_by_the_next_one() {
    let (store, archive) = archive();
    assert_eq!(archive.claim(3, 1, 6).await.unwrap(), 6);
    let mut writer = archive.writer(3, CUT).await.unwrap();
    writer.push(entries(2).concat()).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!((names(&store).await.len(), writer.waiting()), (0, 3));
    assert!(writer.due().is_some());
    writer.push(entries(5).concat()).await.unwrap();
    writer.flush().await.unwrap();
    assert_eq!(writer.waiting(), 0);
    let files = archive.files(3).await.unwrap();
    let ends: Vec<u64> = files.iter().map(|file| file.last_seq).collect();
    assert_eq!(ends, [6, 9]);
    assert_eq!(whole(&archive).await, entries(5).concat());
}
