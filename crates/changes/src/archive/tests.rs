use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use object_store::{ObjectStoreExt as _, PutPayload};
use uuid::Uuid;

use super::*;
use crate::cursor::SequenceError;

mod cutting;
mod damage;
mod owners;
mod several_writers;

const CUT: Cut = Cut {
    rows: 4,
    period: Duration::from_secs(60),
    max_wait: Duration::from_secs(90),
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

async fn write(archive: &Archive, changes: Vec<Change>) {
    let mut writer = archive.writer(3, CUT).await.unwrap();
    writer.push(changes).await.unwrap();
    writer.flush().await.unwrap();
}

/// Lists all files, without the prefix and in order.
async fn names(store: &InMemory) -> Vec<String> {
    let mut names: Vec<String> = store
        .list(None)
        .map_ok(|object| object.location.to_string().replace("some/prefix/", ""))
        .try_collect()
        .await
        .unwrap();
    names.sort();
    names
}

async fn chain(archive: &Archive) -> Result<Vec<ManifestEntry>, ArchiveError> {
    let mut chain = archive.chain(3).await?;
    let mut entries = Vec::new();
    while let Some(entry) = chain.next().await? {
        entries.push(entry);
    }
    Ok(entries)
}

async fn whole(archive: &Archive) -> Vec<Change> {
    let mut changes = Vec::new();
    for entry in chain(archive).await.unwrap() {
        changes.extend(archive.read(&entry).await.unwrap());
    }
    changes
}

/// Proves an archive, which gets an owner first.
async fn prove(archive: &Archive) -> Proof {
    archive.adopt(Uuid::from_u128(1)).await.unwrap();
    archive.prove(None, &[], &mut |_| {}).await.unwrap()
}

#[tokio::test]
async fn files_are_named_by_content_and_entries_name_them() {
    let (store, archive) = archive();
    write(&archive, entries(6).concat()).await;
    let manifest = chain(&archive).await.unwrap();
    let files: Vec<String> = manifest.iter().map(|entry| entry.file.clone()).collect();
    let mut expected = files.clone();
    expected.extend([1, 2].map(|entry| format!("manifest/shard=0003/day=1970-01-01/0003-{entry:012}.json")));
    assert_eq!(names(&store).await, expected);
    for (file, (range, entry)) in files.iter().zip([("1-6", &manifest[0]), ("7-12", &manifest[1])]) {
        let (first, last) = range.split_once('-').unwrap();
        let hash = entry.sha256.short();
        let name = format!("changes/shard=0003/day=1970-01-01/0003-{first:0>20}-{last:0>20}-{hash}.parquet");
        assert_eq!(*file, name);
        let content = store
            .get(&archive.file(entry))
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        assert_eq!(
            (entry.sha256, entry.bytes),
            (holdfast_lake::Sha256::of(&content), content.len() as u64)
        );
    }
    let first = archive
        .entry_bytes(3, "1970-01-01".parse().unwrap(), 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(manifest[1].previous, Some(holdfast_lake::Sha256::of(&first)));
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
async fn an_archive_of_the_version_before_is_refused_with_a_way_out() {
    let (store, archive) = archive();
    let old = "changes/shard=0003/0003-00000000000000000001-00000000000000000002.parquet";
    let path = Path::from(format!("some/prefix/{old}"));
    store.put(&path, "x".into()).await.unwrap();
    let errors = [
        archive.writer(3, CUT).await.unwrap_err(),
        archive.chain(3).await.map(drop).unwrap_err(),
        archive.shards().await.unwrap_err(),
    ];
    for error in errors {
        let said = error.to_string();
        assert!(matches!(error, ArchiveError::OldLayout { .. }), "{said}");
        assert!(
            said.contains(old) && said.contains("export into a new place"),
            "{said}"
        );
    }
}

#[tokio::test]
async fn an_archive_may_begin_later_and_says_so() {
    let (_, archive) = archive();
    let mut writer = archive.writer_from(3, 7, CUT).await.unwrap();
    assert_eq!((writer.next_seq(), writer.archived_through()), (7, 6));
    writer.push(entries(6).concat()).await.unwrap();
    writer.flush().await.unwrap();
    let proof = prove(&archive).await;
    assert!(proof.ok, "{proof:?}");
    assert_eq!((proof.shards[0].first_seq, proof.shards[0].last_seq), (7, 12));
    // An archive with files goes on behind them, whatever a writer would begin with.
    assert_eq!(archive.writer_from(3, 3, CUT).await.unwrap().next_seq(), 13);
}

#[tokio::test]
async fn a_gap_in_the_stream_is_never_archived() {
    let (store, archive) = archive();
    let mut writer = archive.writer(3, CUT).await.unwrap();
    let gap = vec![change(1, 0, 1), change(3, 0, 1)];
    let error = writer.push(gap).await.unwrap_err();
    assert!(
        matches!(error, ArchiveError::Sequence(SequenceError::Gap { .. })),
        "{error}"
    );
    assert_eq!(names(&store).await, Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_works_by_path_and_by_url_and_in_both_formats_and_keeps_one_of_them() {
    for (format, other) in [(Format::Parquet, Format::Jsonl), (Format::Jsonl, Format::Parquet)] {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("new/lake").display().to_string();
        write(&Archive::open(&plain, format).unwrap(), entries(6).concat()).await;
        let by_url = Archive::open_existing(&format!("file://{plain}")).unwrap();
        assert_eq!(whole(&by_url).await, entries(6).concat());
        assert!(prove(&by_url).await.ok);
        let file = folder
            .path()
            .join("new/lake")
            .join(&chain(&by_url).await.unwrap()[0].file);
        assert!(file.extension().unwrap() == format.extension());
        assert!(std::fs::metadata(file).unwrap().permissions().readonly());
        let error = Archive::open(&plain, other)
            .unwrap()
            .writer(3, CUT)
            .await
            .unwrap_err();
        assert!(matches!(error, ArchiveError::OtherFormat { .. }), "{error}");
        let error = Archive::open(&plain, format).unwrap().with_lock(180).unwrap_err();
        assert!(error.to_string().contains("a folder cannot lock"), "{error}");
    }
}

#[test]
fn a_folder_to_read_from_is_not_made() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("lake");
    let error = Archive::open_existing(&missing.display().to_string()).unwrap_err();
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
