//! Tests where a stream is cut into files.

use proptest::prelude::*;

use super::*;

const DAY_MS: u64 = 86_400_000;

/// Makes a stream of log entries: the number of changes of each, and the log time that passes before it.
fn stream(entries: &[(u32, u64)]) -> Vec<Vec<Change>> {
    let (mut seq, mut log_time_ms) = (0, DAY_MS - 100_000);
    let mut entry = |&(size, pause_ms): &(u32, u64)| {
        log_time_ms += pause_ms;
        (0..size)
            .map(|at| {
                seq += 1;
                Change {
                    log_time_ms,
                    ..change(seq, at, size)
                }
            })
            .collect()
    };
    entries.iter().map(&mut entry).collect()
}

fn entry_sizes_and_pauses() -> impl Strategy<Value = Vec<(u32, u64)>> {
    let pause_ms = prop_oneof![Just(0), 1..30_000_u64, Just(DAY_MS)];
    prop::collection::vec((1..4_u32, pause_ms), 1..40)
}

async fn archived(messages: Vec<Vec<Change>>) -> (Vec<String>, Vec<ManifestEntry>) {
    let store = Arc::new(InMemory::new());
    let archive = Archive::new(store.clone(), Path::default(), Format::Jsonl);
    let mut writer = archive.writer(3, CUT).await.unwrap();
    for message in messages {
        writer.push(message).await.unwrap();
    }
    writer.flush().await.unwrap();
    (names(&store).await, chain(&archive).await.unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn files_follow_from_the_stream_alone_whatever_messages_it_comes_in(
        of_entries in entry_sizes_and_pauses(),
        sizes in prop::collection::vec(1..9_usize, 40),
    ) {
        let stream = stream(&of_entries);
        let mut rest = &stream[..];
        let mut in_larger_messages = Vec::new();
        for size in sizes {
            let (message, others) = rest.split_at(size.min(rest.len()));
            in_larger_messages.push(message.concat());
            rest = others;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (names, manifest) = runtime.block_on(archived(stream.clone()));
        let (again, _) = runtime.block_on(archived(in_larger_messages));
        prop_assert_eq!(names, again);

        // A file spans one period and one day at most. It ends where it is full, or where the next log entry
        // would not fit.
        let changes = stream.concat();
        for (at, file) in manifest.iter().enumerate() {
            let of_file: Vec<&Change> = changes
                .iter()
                .filter(|change| (file.first_seq..=file.last_seq).contains(&change.seq))
                .collect();
            let period = |log_time_ms: u64| log_time_ms / 60_000;
            prop_assert_eq!(period(file.first_log_time_ms), period(file.last_log_time_ms));
            prop_assert_eq!(file.first_log_time_ms / DAY_MS, file.last_log_time_ms / DAY_MS);
            let last_entry = of_file.last().unwrap().log_index;
            let before_last_entry = of_file.iter().filter(|change| change.log_index != last_entry).count();
            prop_assert!(before_last_entry < CUT.rows);
            if let Some(next) = manifest.get(at + 1) {
                let is_full = of_file.len() >= CUT.rows;
                prop_assert!(is_full || period(next.first_log_time_ms) != period(file.first_log_time_ms));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_is_due_when_its_oldest_change_has_waited() {
    let (_, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    assert_eq!(writer.due(), None);
    writer.push(vec![change(1, 0, 1)]).await.unwrap();
    let due = writer.due().unwrap();
    assert_eq!(due, tokio::time::Instant::now() + CUT.max_wait);
    tokio::time::advance(Duration::from_secs(30)).await;
    writer.push(vec![change(2, 0, 1)]).await.unwrap();
    assert_eq!((writer.due(), writer.archived_through()), (Some(due), 0));
    writer.flush().await.unwrap();
    assert_eq!((writer.due(), writer.archived_through()), (None, 2));
    assert_eq!(writer.written(), Written { files: 1, changes: 2 });
}

#[tokio::test]
async fn a_log_time_that_no_day_has_is_an_error() {
    let (_, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    let late = Change {
        log_time_ms: u64::MAX,
        ..change(1, 0, 1)
    };
    writer.push(vec![late]).await.unwrap();
    let error = writer.flush().await.unwrap_err();
    assert!(matches!(error, ArchiveError::LogTime { seq: 1, .. }), "{error}");
}

#[tokio::test]
async fn a_log_time_that_goes_back_is_never_archived() {
    let (_, within_a_file) = archive();
    let mut writer = within_a_file.writer(3, CUT).await.unwrap();
    let times = [5, 4].map(|log_time_ms| Change {
        log_time_ms,
        ..change(6 - log_time_ms, 0, 1)
    });
    let error = writer.push(times.to_vec()).await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::LogTimeWentBack { seq: 2, .. }),
        "{error}"
    );
    for flushes in [false, true] {
        let (store, archive) = archive();
        let mut writer = archive.writer(3, CUT).await.unwrap();
        let at = |seq, log_time_ms| Change {
            log_time_ms,
            ..change(seq, 0, 1)
        };
        writer.push(vec![at(1, DAY_MS)]).await.unwrap();
        if flushes {
            writer.flush().await.unwrap();
        }
        let before = names(&store).await;
        let pushed = writer.push(vec![at(2, DAY_MS - 1)]).await;
        let error = match pushed {
            Err(error) => error,
            Ok(()) => writer.flush().await.unwrap_err(),
        };
        assert!(error.to_string().contains("log time 86399999 ms"), "{error}");
        assert!(flushes || before.is_empty());
        assert!(!names(&store).await.iter().any(|name| name.contains("1970-01-01")));
    }
}
