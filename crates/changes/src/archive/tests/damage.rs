//! Tests that no damage of an archive is missed, and that its file is named.

use super::*;
use crate::as_of::{At, Reading, Stock, read_archive};

const ENTRY: &str = "some/prefix/manifest/shard=0003/day=1970-01-01";

async fn written() -> (Arc<InMemory>, Archive) {
    let (store, archive) = archive();
    write(&archive, entries(9).concat()).await;
    assert_eq!(chain(&archive).await.unwrap().len(), 3);
    (store, archive)
}

fn entry(number: u32) -> Path {
    Path::from(format!("{ENTRY}/0003-{number:012}.json"))
}

async fn read(store: &InMemory, path: &Path) -> Vec<u8> {
    store.get(path).await.unwrap().bytes().await.unwrap().to_vec()
}

async fn replace(store: &InMemory, path: &Path, content: Vec<u8>) {
    store.put(path, PutPayload::from(content)).await.unwrap();
}

/// Returns whether a reader of the past notices a fault.
async fn reading_fails(archive: &Archive) -> bool {
    let mut reading = Reading::new(3, At::Seq(u64::MAX), Stock::new("tea", ""));
    read_archive(archive, &mut reading).await.is_err()
}

/// Checks that every reader notices a fault, and that the proof names this file.
async fn assert_noticed(archive: &Archive, path: &Path, what: &str) {
    let proof = prove(archive).await;
    let names_it = proof.faults.iter().any(|fault| fault.path == path.to_string());
    assert!(!proof.ok && names_it, "{what}: {proof:?}");
}

/// Flips this many bits, spread over these files, and checks each time that all readers notice it.
async fn flip(store: &InMemory, archive: &Archive, paths: &[Path], flips: usize) {
    let mut bits = Vec::new();
    for path in paths {
        let bytes = read(store, path).await.len();
        bits.extend((0..bytes * 8).map(|bit| (path, bit)));
    }
    for at in 0..flips {
        let (path, bit) = bits[at * bits.len() / flips];
        let content = read(store, path).await;
        let mut flipped = content.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        replace(store, path, flipped).await;
        let what = format!("bit {bit} of {path}");
        assert!(reading_fails(archive).await, "{what}");
        let proof = prove(archive).await;
        let told = format!("{:?}", proof.faults);
        // A changed entry may still be well-formed. The entry after it then tells its number.
        let name = path.filename().unwrap();
        let number = name
            .strip_suffix(".json")
            .map(|name| name[5..].trim_start_matches('0'));
        let by_number = number.map(|number| format!("SHA-256 of entry {number}"));
        let is_named = told.contains(name) || by_number.is_some_and(|number| told.contains(&number));
        assert!(!proof.ok && is_named, "{what}: {told}");
        replace(store, path, content).await;
    }
    assert!(prove(archive).await.ok);
}

#[tokio::test]
async fn of_200_bits_flipped_in_a_file_every_one_is_found_and_named() {
    let (store, archive) = archive();
    write(&archive, entries(3).concat()).await;
    let paths: Vec<Path> = chain(&archive)
        .await
        .unwrap()
        .iter()
        .map(|entry| archive.file(entry))
        .collect();
    assert_eq!(paths.len(), 1);
    flip(&store, &archive, &paths, 200).await;
}

#[tokio::test]
async fn of_200_bits_flipped_in_the_manifest_every_one_is_found_and_named() {
    let store = Arc::new(InMemory::new());
    // Lines are read faster than columns.
    let archive = Archive::new(store.clone(), Path::from("some/prefix"), Format::Jsonl);
    write(&archive, entries(9).concat()).await;
    flip(&store, &archive, &[1, 2, 3].map(entry), 200).await;
}

#[tokio::test]
async fn a_removed_file_or_entry_is_named() {
    let (store, archive) = written().await;
    let mut paths = vec![entry(1), entry(2)];
    paths.extend(
        chain(&archive)
            .await
            .unwrap()
            .iter()
            .map(|entry| archive.file(entry)),
    );
    for path in paths {
        let content = read(&store, &path).await;
        store.delete(&path).await.unwrap();
        let proof = prove(&archive).await;
        let told = format!("{:?}", proof.faults);
        assert!(
            !proof.ok && told.contains(path.filename().unwrap()),
            "{path}: {told}"
        );
        assert!(reading_fails(&archive).await, "{path}");
        replace(&store, &path, content).await;
    }
    // Without the last entry, its file is one too many.
    store.delete(&entry(3)).await.unwrap();
    let proof = prove(&archive).await;
    assert!(
        !proof.ok && proof.faults[0].path.contains("00000000000000000013"),
        "{proof:?}"
    );
}

#[tokio::test]
async fn a_replaced_or_renamed_file_or_entry_is_named() {
    let (store, archive) = written().await;
    let manifest = chain(&archive).await.unwrap();
    let (first, second) = (archive.file(&manifest[0]), archive.file(&manifest[1]));
    let content = read(&store, &first).await;
    replace(&store, &first, read(&store, &second).await).await;
    assert_noticed(&archive, &first, "replaced").await;
    replace(&store, &first, content.clone()).await;

    let renamed = Path::from(first.to_string().replace(".parquet", "x.parquet"));
    store.rename(&first, &renamed).await.unwrap();
    assert_noticed(&archive, &first, "renamed away").await;
    assert_noticed(&archive, &renamed, "renamed to").await;
    store.rename(&renamed, &first).await.unwrap();

    // Two entries change their places.
    let (one, two) = (read(&store, &entry(1)).await, read(&store, &entry(2)).await);
    replace(&store, &entry(1), two.clone()).await;
    replace(&store, &entry(2), one.clone()).await;
    assert_noticed(&archive, &entry(1), "exchanged").await;
    assert_noticed(&archive, &entry(2), "exchanged").await;
    assert!(reading_fails(&archive).await);
    replace(&store, &entry(1), one).await;
    replace(&store, &entry(2), two.clone()).await;
    assert!(prove(&archive).await.ok);

    // An entry in the folder of another day.
    store.delete(&entry(2)).await.unwrap();
    let elsewhere = Path::from(entry(2).to_string().replace("1970-01-01", "1970-01-02"));
    replace(&store, &elsewhere, two).await;
    assert_noticed(&archive, &elsewhere, "another day").await;
}

/// Somebody rewrites a file, its entry, and every entry after it. Then the chain is whole again, and only an
/// earlier head shows it. The same holds when the end is removed together with its file.
#[tokio::test]
async fn a_history_that_was_rewritten_or_cut_as_a_whole_differs_from_an_earlier_proof() {
    let (store, archive) = written().await;
    let earlier = prove(&archive).await;
    let (_, other) = super::archive();
    let mut changes = entries(9).concat();
    changes[0].sku = "OTHER".into();
    write(&other, changes).await;
    assert!(prove(&other).await.ok);
    let rewritten = other.prove(None, &earlier.shards, &mut |_| {}).await.unwrap();
    assert_eq!(
        (rewritten.ok, rewritten.faults[0].path.clone()),
        (false, entry(3).to_string())
    );

    let last = chain(&archive).await.unwrap().pop().unwrap();
    store.delete(&archive.file(&last)).await.unwrap();
    store.delete(&entry(3)).await.unwrap();
    assert!(prove(&archive).await.ok);
    let cut = archive.prove(None, &earlier.shards, &mut |_| {}).await.unwrap();
    let path = &cut.faults[0].path;
    assert!(!cut.ok && path.ends_with("0003-000000000003.json"), "{path}");
}

#[tokio::test]
async fn an_owner_that_was_removed_or_damaged_is_named() {
    let (store, archive) = written().await;
    let owner = Path::from("some/prefix/changes/owner.json");
    assert!(prove(&archive).await.ok);
    for content in [None, Some("{")] {
        match content {
            None => store.delete(&owner).await.unwrap(),
            Some(content) => replace(&store, &owner, content.into()).await,
        }
        let proof = archive.prove(None, &[], &mut |_| {}).await.unwrap();
        assert_eq!(
            (proof.fault_count, proof.faults[0].path.clone()),
            (1, owner.to_string())
        );
    }
}

#[tokio::test]
async fn a_whole_file_that_its_entry_describes_wrongly_is_named() {
    let (store, archive) = archive();
    write(&archive, entries(2).concat()).await;
    let right = chain(&archive).await.unwrap().pop().unwrap();
    let wrong_times = ManifestEntry {
        last_log_time_ms: 7,
        ..right.clone()
    };
    replace(&store, &entry(1), wrong_times.encode().unwrap().to_vec()).await;
    assert!(matches!(
        archive
            .read(&chain(&archive).await.unwrap()[0])
            .await
            .unwrap_err(),
        ArchiveError::Content { .. }
    ));
    assert_noticed(&archive, &archive.file(&right), "log time").await;
}

#[tokio::test]
async fn entries_that_are_not_of_their_form_are_refused_and_never_believed() {
    let (store, archive) = archive();
    write(&archive, entries(2).concat()).await;
    let right = String::from_utf8(read(&store, &entry(1)).await).unwrap();
    for (from, to) in [
        ("{\"version\":1", "{\"version\":2"),
        ("{\"version\":1", "{ \"version\":1"),
        ("\"shard\":3", "\"shard\":4"),
        ("\"entry\":1", "\"entry\":2"),
        ("\"previous\":null", "\"previous\":\"00\""),
        ("\"file\":\"changes/", "\"file\":\"../"),
        ("\"rows\":3", "\"rows\":4"),
        ("\"first_seq\":1", "\"first_seq\":0"),
        ("\"first_log_time_ms\":0", "\"first_log_time_ms\":86400000"),
        ("}", ",\"more\":1}"),
        (&right, ""),
    ] {
        let wrong = right.replacen(from, to, 1);
        assert_ne!(wrong, right);
        replace(&store, &entry(1), wrong.clone().into_bytes()).await;
        let error = chain(&archive).await.unwrap_err();
        assert!(matches!(error, ArchiveError::Manifest { .. }), "{wrong}: {error}");
        assert_noticed(&archive, &entry(1), &wrong).await;
    }
    replace(&store, &entry(1), right.into_bytes().repeat(100)).await;
    assert!(chain(&archive).await.is_err());
}
