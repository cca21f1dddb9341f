use std::collections::BTreeMap;
use std::time::Duration;

use object_store::memory::InMemory;
use uuid::Uuid;

use super::*;
use crate::cursor::SequenceError;

mod owners;
mod several_writers;

const CUT: Cut = Cut {
    rows: 4,
    age: Duration::from_secs(60),
};

fn change(seq: u64, entry_offset: u32, entry_changes: u32) -> Change {
    let log_index = 1000 + seq - u64::from(entry_offset);
    Change {
        shard: 3,
        seq,
        entry_offset,
        entry_changes,
        log_index,
        kind: 9,
        cause: Some(Default::default()),
        ..Change::default()
    }
}

/// Makes messages of one entry each, with 1, 2, 3, 1, 2, 3, ... changes.
fn entries(count: u32) -> Vec<Vec<Change>> {
    let mut seq = 0;
    let mut entry = |size| {
        (0..size)
            .map(|at| {
                seq += 1;
                change(seq, at, size)
            })
            .collect()
    };
    (0..count).map(|at| entry(1 + at % 3)).collect()
}

fn archive() -> (Arc<InMemory>, Archive) {
    let store = Arc::new(InMemory::new());
    (
        store.clone(),
        Archive::new(store, Path::from("some/prefix"), Format::Parquet),
    )
}

/// Lists the files of changes.
async fn names(store: &InMemory) -> Vec<String> {
    let mut names: Vec<String> = store
        .list(None)
        .map_ok(|object| object.location.to_string())
        .try_collect()
        .await
        .unwrap();
    names.retain(|name| name.ends_with(".parquet"));
    names.sort();
    names
}

async fn whole(archive: &Archive) -> Vec<Change> {
    let mut changes = Vec::new();
    for file in archive.files(3).await.unwrap() {
        changes.extend(archive.read(&file).await.unwrap());
    }
    changes
}

#[tokio::test]
async fn files_are_named_by_shard_and_range_and_hold_whole_entries() {
    let (store, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    writer.push(entries(6).concat()).await.unwrap();
    writer.flush().await.unwrap();
    let folder = "some/prefix/changes/shard=0003/0003-";
    let expected = [
        format!("{folder}00000000000000000001-00000000000000000006.parquet"),
        format!("{folder}00000000000000000007-00000000000000000012.parquet"),
    ];
    assert_eq!(names(&store).await, expected);
    assert_eq!(archive.shards().await.unwrap(), [3]);
    assert_eq!(whole(&archive).await, entries(6).concat());
}

#[tokio::test]
async fn a_writer_that_crashes_anywhere_is_resumed_without_a_gap_a_repeat_or_a_rewrite() {
    let stream = entries(12).concat();
    for crash_after in 0..12 {
        let (store, archive) = archive();
        let mut writer = archive.writer(3, CUT).await.unwrap();
        for entry in entries(12).into_iter().take(crash_after) {
            writer.push(entry).await.unwrap();
        }
        drop(writer);
        let before = modified(&store).await;
        let mut writer = archive.writer(3, CUT).await.unwrap();
        let resume = writer.next_seq() as usize - 1;
        writer.push(stream[resume..].to_vec()).await.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(whole(&archive).await, stream);
        let after = modified(&store).await;
        assert!(
            before.iter().all(|file| after.contains(file)),
            "a file was written twice"
        );
    }
}

async fn modified(store: &InMemory) -> Vec<(Path, Option<String>)> {
    store
        .list(None)
        .map_ok(|object| (object.location, object.e_tag))
        .try_collect()
        .await
        .unwrap()
}

#[tokio::test]
async fn the_same_file_again_is_fine_and_another_content_is_an_error_that_changes_nothing() {
    let (store, archive) = archive();
    let changes = entries(2).concat();
    assert_eq!(archive.put(&changes).await.unwrap(), Put::Written);
    let before = modified(&store).await;
    assert_eq!(archive.put(&changes).await.unwrap(), Put::AlreadyThere);
    let mut other = changes.clone();
    other[1].sku = "OTHER".into();
    let error = archive.put(&other).await.unwrap_err();
    assert!(matches!(error, ArchiveError::OtherContent { .. }), "{error}");
    assert_eq!(modified(&store).await, before);
    assert_eq!(whole(&archive).await, changes);
}

#[tokio::test]
async fn a_missing_or_overlapping_file_is_told() {
    let (store, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    writer.push(entries(9).concat()).await.unwrap();
    writer.flush().await.unwrap();
    let files = archive.files(3).await.unwrap();
    assert_eq!(files.len(), 3);
    let path = archive.path(&files[1]);
    let content = store.get(&path).await.unwrap().bytes().await.unwrap();
    store.delete(&path).await.unwrap();
    let error = archive.files(3).await.unwrap_err();
    assert!(
        matches!(
            error,
            ArchiveError::NotContiguous {
                shard: 3,
                expected: 7,
                ..
            }
        ),
        "{error}"
    );
    assert!(archive.writer(3, CUT).await.is_err());

    store.put(&path, content.into()).await.unwrap();
    archive.put(&entries(9).concat()[8..10]).await.unwrap();
    let error = archive.files(3).await.unwrap_err();
    assert!(matches!(error, ArchiveError::NotContiguous { .. }), "{error}");
}

#[tokio::test]
async fn foreign_files_are_told_and_other_formats_are_left_alone() {
    let (store, archive) = archive();
    let folder = "some/prefix/changes/shard=0003";
    store
        .put(&Path::from(format!("{folder}/readme.txt")), "x".into())
        .await
        .unwrap();
    assert_eq!(archive.files(3).await.unwrap(), []);
    for name in [
        "mine.parquet",
        "0003-1-2.parquet",
        "0004-00000000000000000001-00000000000000000002.parquet",
    ] {
        let path = Path::from(format!("{folder}/{name}"));
        store.put(&path, "x".into()).await.unwrap();
        let error = archive.files(3).await.unwrap_err();
        assert!(matches!(error, ArchiveError::ForeignFile { .. }), "{error}");
        store.delete(&path).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_whose_content_is_not_what_its_name_says_is_not_read() {
    let (store, archive) = archive();
    archive.put(&entries(2).concat()).await.unwrap();
    let file = archive.files(3).await.unwrap()[0];
    let other = Format::Parquet.encode(&entries(1).concat()).unwrap();
    store.put(&archive.path(&file), other.into()).await.unwrap();
    assert!(matches!(
        archive.read(&file).await.unwrap_err(),
        ArchiveError::ForeignFile { .. }
    ));
    store.put(&archive.path(&file), "garbage".into()).await.unwrap();
    assert!(matches!(
        archive.read(&file).await.unwrap_err(),
        ArchiveError::Decode { .. }
    ));
}

#[tokio::test]
async fn a_gap_in_the_stream_is_never_archived() {
    let (_, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    let gap = vec![change(1, 0, 1), change(3, 0, 1)];
    let error = writer.push(gap).await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::Sequence(SequenceError::Gap { .. })),
        "{error}"
    );
    assert_eq!(archive.files(3).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_due_when_its_oldest_change_has_waited() {
    let (_, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    assert_eq!(writer.due(), None);
    writer.push(vec![change(1, 0, 1)]).await.unwrap();
    let due = writer.due().unwrap();
    tokio::time::advance(Duration::from_secs(30)).await;
    writer.push(vec![change(2, 0, 1)]).await.unwrap();
    assert_eq!(writer.due(), Some(due));
    writer.flush().await.unwrap();
    assert_eq!(writer.due(), None);
    assert_eq!(writer.written(), Written { files: 1, changes: 2 });
}

#[tokio::test]
async fn a_folder_works_by_path_and_by_url_and_in_both_formats() {
    let folder = tempfile::tempdir().unwrap();
    let plain = folder.path().join("new/lake").display().to_string();
    for format in [Format::Parquet, Format::Jsonl] {
        let archive = Archive::open(&plain, format).unwrap();
        let mut writer = archive.writer(3, CUT).await.unwrap();
        writer.push(entries(6).concat()).await.unwrap();
        writer.flush().await.unwrap();
        let by_url = Archive::open(&format!("file://{plain}"), format).unwrap();
        assert_eq!(whole(&by_url).await, entries(6).concat());
    }
    let first = "changes/shard=0003/0003-00000000000000000001-00000000000000000006.jsonl";
    assert!(folder.path().join("new/lake").join(first).is_file());
}

#[test]
fn a_folder_to_read_from_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("lake");
    let error = Archive::open_existing(&missing.display().to_string(), Format::Parquet).unwrap_err();
    assert!(matches!(error, ArchiveError::Location { .. }), "{error}");
    assert!(!missing.exists());
}

#[test]
fn a_place_that_is_not_understood_is_told() {
    for place in ["", "ftp://host/x", "s3://", "file://host/x"] {
        let error = Archive::open(place, Format::Parquet).unwrap_err();
        assert!(matches!(error, ArchiveError::Location { .. }), "{place}: {error}");
    }
}
